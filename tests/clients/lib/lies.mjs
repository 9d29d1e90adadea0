// What a host could get wrong, one lie each, and the check that has to catch it.
//
// `caughtBy` is part of a check's name. `host` says which host of a migration lies: 'from' or 'to'.
import { Secp256k1Keypair } from '@atproto/crypto'
import { parseCid } from '@atproto/lex-data'
import { blocksToCarFile, def, MemoryBlockstore, readCar, readCarWithRoot, signCommit } from '@atproto/repo'

const ABSENT = parseCid('bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a')

const empty = () => ({ status: 200, headers: { 'content-type': 'application/json' }, body: Buffer.from('{}') })
const swallow = (nsid) => ({ request: (request) => (request.nsid.endsWith(nsid) ? empty() : undefined) })

function json(message, change) {
  let value
  try {
    value = JSON.parse(message.body.toString('utf8'))
  } catch {
    return
  }
  change(value)
  message.body = Buffer.from(JSON.stringify(value))
}

const answerOf = (nsid, change) => ({
  response: (request, response) => (request.nsid === nsid && response.status === 200 ? change(response, request) : undefined),
})
const inputOf = (change) => ({
  request: (request) => void (request.method === 'POST' && request.headers['content-type'] === 'application/json' && json(request, change)),
})
const queryOf = (nsid, change) => ({ request: (request) => void (request.nsid === nsid && change(request.url.searchParams)) })
const flip = (bytes, at) => {
  bytes[at] ^= 1
}

/** Applies `change` to the n-th commit that fits, of those made since the proxy stands: older ones nobody looks at. */
const commitOf = (change, { fits = (body) => body.ops.length > 1 && body.since, nth = 3 } = {}) => ({
  frame: async (header, body, state) => {
    const fresh = Date.parse(body.time) >= state.startedAt
    if (header.t !== '#commit' || !fresh || !fits(body)) return [{ header, body }]
    state.count = (state.count ?? 0) + 1
    if (state.count !== nth) return [{ header, body }]
    return (await change(body, header)) ?? [{ header, body }]
  },
})

async function recar(bytes, change) {
  const { roots, blocks } = await readCar(bytes)
  const root = await change(blocks, roots[0])
  return blocksToCarFile(root ?? roots[0] ?? null, blocks)
}

/** The last block that is neither the root nor a record: a node of the tree. */
function dropNode(blocks, root) {
  const nodes = [...blocks.entries()].filter(({ cid, bytes }) => !cid.equals(root) && bytes[0] === 0xa2 && bytes[1] === 0x61)
  blocks.delete(nodes.at(-1).cid)
}

const carOf = (nsid, change) =>
  answerOf(nsid, async (response) => {
    response.body = Buffer.from(await recar(response.body, change))
  })

const API = [
  ['error names', 'getRecord of what is not there', {
    response: (_, response) => void (response.status >= 400 && json(response, (value) => (value.error = 'InternalServerError'))),
  }],
  ['no rate limits announced', 'rate limits are announced', {
    response: (_, { headers }) => Object.keys(headers).filter((name) => name.startsWith('ratelimit')).forEach((name) => delete headers[name]),
  }],
  ['blobs that a browser would run', 'keep a browser from running it', answerOf('com.atproto.sync.getBlob', ({ headers }) => delete headers['x-content-type-options'])],
  ['a blob with one bit wrong', 'getBlob gives the same bytes', answerOf('com.atproto.sync.getBlob', ({ body }) => flip(body, 5))],
  ['swaps not looked at', 'swapCommit on create', inputOf((value) => delete value.swapCommit)],
  ['record swaps not looked at', 'swapRecord: the right CID', inputOf((value) => delete value.swapRecord)],
  ['reverse not looked at', 'listRecords with reverse', queryOf('com.atproto.repo.listRecords', (query) => query.delete('reverse'))],
  ['cursors not looked at', 'page by page', queryOf('com.atproto.repo.listRecords', (query) => query.delete('cursor'))],
  ['no validation', 'a record that does not fit', inputOf((value) => value.record && (value.validate = false))],
  ['stale reads', 'putRecord creates, replaces', (() => {
    const first = new Map()
    return answerOf('com.atproto.repo.getRecord', (response, { url }) => {
      response.body = first.get(url.search) ?? response.body
      first.set(url.search, response.body)
    })
  })()],
  ['sessions that do not end', 'deleteSession ends', swallow('.deleteSession')],
  ['a deactivation that does nothing', 'a deactivated account answers nobody', swallow('.deactivateAccount')],
  ['a handle that stays', 'updateHandle moves the name', swallow('.updateHandle')],
  ['service tokens that do not verify', 'getServiceAuth signs', answerOf('com.atproto.server.getServiceAuth', (response) =>
    json(response, (value) => (value.token = value.token.replace(/.{20}$/, (end) => [...end].reverse().join('')))))],
  ['no CORS', 'CORS', { response: (_, { headers }) => delete headers['access-control-allow-origin'] }],
  ['bytes that come back changed', 'comes back value for value', answerOf('com.atproto.repo.getRecord', (response) =>
    json(response, ({ value }) => value.bytes && (value.bytes.$bytes = 'AAAA')))],
]

const SYNC = [
  ['a lost event', 'every commit verifies', commitOf(() => [])],
  ['events in the wrong order', 'every commit verifies', (() => {
    const swap = commitOf((body, header) => {
      swap.held = { header, body }
      return []
    })
    const { frame } = swap
    swap.frame = async (header, body, state) => {
      const held = swap.held
      const out = await frame(header, body, state)
      if (held && out.length > 0) swap.held = undefined
      return held && out.length > 0 ? [...out, held] : out
    }
    return swap
  })()],
  ['an operation kept back', 'every write arrives', commitOf((body) => void body.ops.pop())],
  ['a record that did not come along', 'every commit verifies', commitOf(async (body) => {
    const { cid } = body.ops.find((op) => op.cid)
    body.blocks = await recar(body.blocks, (blocks) => void blocks.delete(cid))
  }, { fits: (body) => body.since && body.ops.some((op) => op.cid) })],
  ['a proof with a node missing', 'every commit verifies', commitOf(async (body) => {
    body.blocks = await recar(body.blocks, dropNode)
  })],
  ['a wrong prevData', 'every commit verifies', commitOf((body) => void (body.prevData = ABSENT))],
  ['a wrong prev of an operation', 'every commit verifies', commitOf((body) => void (body.ops.find((op) => op.prev).prev = ABSENT), {
    fits: (body) => body.ops.some((op) => op.prev),
  })],
  ['a wrong since', 'every commit verifies', commitOf((body) => void (body.since = '3aaaaaaaaaa2a'))],
  ['a commit signed by another key', 'every write arrives', commitOf(async (body) => {
    const thief = await Secp256k1Keypair.create()
    body.blocks = await recar(body.blocks, async (blocks, root) => {
      const { sig, ...unsigned } = await new MemoryBlockstore(blocks).readObj(root, def.commit)
      blocks.delete(root)
      body.commit = await blocks.add(await signCommit(unsigned, thief))
      return body.commit
    })
  })],
  ['a silent handle', 'announced as #identity', {
    frame: async (header, body, state) => {
      if (header.t !== '#identity') return [{ header, body }]
      state.told = (state.told ?? new Set())
      if (state.told.has(body.did)) return []
      state.told.add(body.did)
      return [{ header, body }]
    },
  }],
  ['a future cursor that is taken', 'FutureCursor', { stream: ({ searchParams }) => void (Number(searchParams.get('cursor')) > 2 ** 30 && searchParams.delete('cursor')) }],
  ['a cursor that starts over', 'a cursor resumes', { stream: ({ searchParams }) => void (searchParams.has('cursor') && Number(searchParams.get('cursor')) < 2 ** 30 && searchParams.set('cursor', '0')) }],
  ['an outdated cursor not told', 'OutdatedCursor', {
    short: true,
    frame: async (header, body) => (header.t === '#info' ? [] : [{ header, body }]),
  }],
  ['an export with a node missing', 'getRepo verifies whole', carOf('com.atproto.sync.getRepo', dropNode)],
  ['an export with a block too many', 'every block of getRepo belongs', carOf('com.atproto.sync.getRepo', (blocks) => void blocks.set(ABSENT, Buffer.from('a0', 'hex')))],
  ['a proof of a record that does not prove', 'getRecord proves that a record is not there', carOf('com.atproto.sync.getRecord', dropNode)],
  ['blocks not given', 'getBlocks gives', carOf('com.atproto.sync.getBlocks', (blocks) => void blocks.delete(blocks.cids()[0]))],
  ['an account not listed', 'listRepos walks', answerOf('com.atproto.sync.listRepos', (response) => json(response, (value) => value.repos.length > 1 && value.repos.pop()))],
  ['blobs since a revision not looked at', 'listBlobs walks', queryOf('com.atproto.sync.listBlobs', (query) => query.delete('since'))],
]

const PYTHON = [
  ['error names', 'a wrong password', API[0][2]],
  ['a blob with one bit wrong', 'uploadBlob', API[3][2]],
  ['cursors not looked at', 'listRecords page by page', API[7][2]],
  ['an export with a node missing', 'getRepo decodes', carOf('com.atproto.sync.getRepo', (blocks, root) => {
    const record = [...blocks.entries()].find(({ cid, bytes }) => !cid.equals(root) && Buffer.from(bytes).includes('number 7'))
    blocks.delete(record.cid)
  })],
  ['a lost event', 'the event stream decodes', commitOf(() => [], { fits: () => true })],
]

const MIGRATE = [
  ['a record not listed', 'every record is the same', { host: 'to', ...answerOf('com.atproto.repo.listRecords', (response) => json(response, (value) => value.records.pop())) }],
  ['a blob with one bit wrong', 'every blob is the same', { host: 'to', ...answerOf('com.atproto.sync.getBlob', ({ body }) => flip(body, 0)) }],
  ['a blob of another type', 'every blob is the same', { host: 'to', ...answerOf('com.atproto.sync.getBlob', ({ headers }) => void (headers['content-type'] = 'image/gif')) }],
  ['preferences thrown away', 'the preferences are the same', { host: 'to', ...swallow('.putPreferences') }],
  ['the owner’s recovery key left out', 'recovery key first', { host: 'from', ...inputOf((value) => value.rotationKeys && value.rotationKeys.shift()) }],
  ['an identity not submitted', 'the identity names the new host', { host: 'to', ...swallow('.submitPlcOperation') }],
  ['an old host that stays active', 'deactivateAccount here', { host: 'from', ...swallow('.deactivateAccount') }],
  ['a blob that is not missed', 'listMissingBlobs names', { host: 'to', ...answerOf('com.atproto.repo.listMissingBlobs', (response) => json(response, (value) => value.blobs.length === 1 && (value.blobs = []))) }],
]

const named = ([name, caughtBy, lie]) => ({ name, caughtBy, lie })
export const LIES = { api: API.map(named), sync: SYNC.map(named), python: PYTHON.map(named), migrate: MIGRATE.map(named) }
