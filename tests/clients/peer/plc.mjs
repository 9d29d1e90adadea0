// A did:plc directory in memory, over HTTP on loopback. Operations are judged by `@did-plc/lib`, as the public
// directory judges them: it accepts nothing that the specification refuses, and forgets everything when it stops.
import http from 'node:http'
import * as plc from '@did-plc/lib'
import { cidForCbor } from '@atproto/common'
import { listen } from './listen.mjs'

const BODY_BYTES_MAX = 7_500 // The public directory refuses larger operations.

export class PlcDirectory {
  #logs = new Map() // did → [{ did, operation, cid, nullified, createdAt }]
  #exported = [] // The same entries in order of arrival.

  async add(did, operation) {
    const log = this.#logs.get(did) ?? []
    const standing = log.filter((entry) => !entry.nullified)
    const { nullified } = await plc.assureValidNextOp(did, standing, operation)
    for (const entry of log) {
      if (nullified.some((cid) => cid.equals(entry.cid))) entry.nullified = true
    }
    const entry = { did, operation, cid: await cidForCbor(operation), nullified: false, createdAt: new Date() }
    this.#logs.set(did, [...log, entry])
    this.#exported.push(entry)
  }

  audit(did) {
    return this.#logs.get(did)
  }

  log(did) {
    return this.audit(did)?.filter((entry) => !entry.nullified).map((entry) => entry.operation)
  }

  /** The state of a DID: undefined when it was never registered, null when it was given up. */
  data(did) {
    const last = this.log(did)?.at(-1)
    return last && plc.opToData(did, last)
  }

  export(after, count) {
    const from = after ? this.#exported.filter((entry) => entry.createdAt > new Date(after)) : this.#exported
    return from.slice(0, count)
  }
}

const audited = (entry) => ({ ...entry, cid: entry.cid.toString(), createdAt: entry.createdAt.toISOString() })

function document(data) {
  return {
    '@context': [
      'https://www.w3.org/ns/did/v1',
      'https://w3id.org/security/multikey/v1',
      'https://w3id.org/security/suites/secp256k1-2019/v1',
    ],
    id: data.did,
    alsoKnownAs: data.alsoKnownAs,
    verificationMethod: Object.entries(data.verificationMethods).map(([name, key]) => ({
      id: `${data.did}#${name}`,
      type: 'Multikey',
      controller: data.did,
      publicKeyMultibase: key.slice('did:key:'.length),
    })),
    service: Object.entries(data.services).map(([name, service]) => ({
      id: `#${name}`,
      type: service.type,
      serviceEndpoint: service.endpoint,
    })),
  }
}

async function body(request) {
  const chunks = []
  let size = 0
  for await (const chunk of request) {
    size += chunk.length
    if (size > BODY_BYTES_MAX) throw Object.assign(new Error('operation too large'), { status: 413 })
    chunks.push(chunk)
  }
  return JSON.parse(Buffer.concat(chunks).toString('utf8'))
}

async function answer(directory, request) {
  const url = new URL(request.url, 'http://directory')
  const [did, ...rest] = url.pathname.slice(1).split('/').map(decodeURIComponent)
  if (did === '_health') return { json: { version: 'test' } }
  if (did === 'export') {
    const count = Math.min(Number(url.searchParams.get('count') ?? 10), 1000)
    const entries = directory.export(url.searchParams.get('after'), count)
    return { type: 'application/jsonlines', text: entries.map((entry) => JSON.stringify(audited(entry))).join('\n') }
  }
  if (request.method === 'POST') {
    await directory.add(did, await body(request))
    return { json: {} }
  }
  const data = directory.data(did)
  if (data === undefined) return { status: 404, json: { message: `DID not registered: ${did}` } }
  switch (rest.join('/')) {
    case '':
      if (data === null) return { status: 410, json: { message: `DID not available: ${did}` } }
      return { type: 'application/did+ld+json', text: JSON.stringify(document(data)) }
    case 'data':
      if (data === null) return { status: 410, json: { message: `DID not available: ${did}` } }
      return { json: data }
    case 'log':
      return { json: directory.log(did) }
    case 'log/audit':
      return { json: directory.audit(did).map(audited) }
    case 'log/last':
      return { json: directory.log(did).at(-1) }
    default:
      return { status: 404, json: { message: 'no such path' } }
  }
}

/** Serves a new directory; answers `{ url, directory, close }`. */
export async function startPlc() {
  const directory = new PlcDirectory()
  const server = http.createServer(async (request, response) => {
    let result
    try {
      result = await answer(directory, request)
    } catch (error) {
      const refused = plc.PlcError.is(error) || error instanceof SyntaxError
      result = { status: error.status ?? (refused ? 400 : 500), json: { message: error.message } }
    }
    response.writeHead(result.status ?? 200, { 'content-type': result.type ?? 'application/json' })
    response.end(result.text ?? JSON.stringify(result.json))
  })
  return { directory, ...(await listen(server)) }
}
