// Brings an account from a host that does not exist to the point where its repository is to be imported: for load.
//
//   scripts/clients newcomer TARGET --records N --directory DIR
//
// Prints {"did", "accessJwt", "car"}; `car` is a file in DIR. The tree of N records is made once per directory.
import crypto from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { TID } from '@atproto/common'
import { Secp256k1Keypair } from '@atproto/crypto'
import * as plc from '@did-plc/lib'
import { MemoryBlockstore, Repo, blocksToCarFile, def, readCarWithRoot, signCommit } from '@atproto/repo'
import { accountInput, newAgent, newHandle, readTarget } from './lib/target.mjs'

const COLLECTION = 'com.example.load.note'
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: { records: { type: 'string' }, directory: { type: 'string' } },
})
const target = readTarget(positionals[0])
const records = Number(options.records)

async function template() {
  const path = join(options.directory, `records-${records}.car`)
  if (!existsSync(path)) {
    const writes = Array.from({ length: records }, (_, index) => ({
      action: 'create',
      collection: COLLECTION,
      rkey: `r${String(index).padStart(7, '0')}`,
      record: { $type: COLLECTION, text: `${index} ${'The quick brown fox jumps over the lazy dog. '.repeat(5)}`, createdAt: '2026-01-01T00:00:00.000Z' },
    }))
    const key = await Secp256k1Keypair.create()
    const commit = await Repo.formatInitCommit(new MemoryBlockstore(), 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa', key, writes)
    await writeFile(path, await blocksToCarFile(commit.cid, commit.newBlocks))
  }
  return readCarWithRoot(await readFile(path), { skipCidVerification: true })
}

/** The same records, signed for another account. */
async function repositoryOf(did, key) {
  const { root, blocks } = await template()
  const { data } = await new MemoryBlockstore(blocks).readObj(root, def.commit)
  blocks.delete(root)
  const commit = await signCommit({ did, version: 3, data, rev: TID.nextStr(), prev: null }, key)
  return blocksToCarFile(await blocks.add(commit), blocks)
}

async function serviceToken(did, key, aud) {
  const seconds = Math.floor(Date.now() / 1000)
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const claims = { iss: did, aud, lxm: 'com.atproto.server.createAccount', iat: seconds, exp: seconds + 60, jti: crypto.randomUUID() }
  const signed = `${part({ typ: 'JWT', alg: key.jwtAlg })}.${part(claims)}`
  return `${signed}.${Buffer.from(await key.sign(Buffer.from(signed))).toString('base64url')}`
}

const agent = newAgent(target)
const key = await Secp256k1Keypair.create()
const rotation = await Secp256k1Keypair.create()
const did = await new plc.Client(target.plcUrl).createDid({
  signingKey: key.did(),
  handle: newHandle(target, 'n'),
  pds: 'https://elsewhere.example',
  rotationKeys: [rotation.did()],
  signer: rotation,
})
const car = join(options.directory, `${did.replaceAll(':', '-')}.car`)
await writeFile(car, await repositoryOf(did, key))
const { data: server } = await agent.com.atproto.server.describeServer()
const { data } = await agent.com.atproto.server.createAccount(
  { ...(await accountInput(target)), did },
  { encoding: 'application/json', headers: { authorization: `Bearer ${await serviceToken(did, key, server.did)}` } },
)
console.log(JSON.stringify({ did, accessJwt: data.accessJwt, car }))
process.exit()
