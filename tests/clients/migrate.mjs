// Moves an account from one host to another as the official migration guide says, and compares both ends byte for byte.
//
//   scripts/clients migrate FIRST SECOND
//
// One account moves from FIRST to SECOND, another from SECOND to FIRST. Both hosts must use the same directory. A code
// is needed from the host that is left (`mailUrl` or `tokenCommand` in its TARGET).
import crypto from 'node:crypto'
import { Secp256k1Keypair } from '@atproto/crypto'
import * as plc from '@did-plc/lib'
import { MemoryBlockstore, def, readCarWithRoot, verifyRepoCar } from '@atproto/repo'
import { assert, refused, scenario } from './lib/checks.mjs'
import { EventStream } from './lib/stream.mjs'
import {
  ConfirmationCodes,
  accountInput,
  newAccount,
  newAgent,
  newHandle,
  newResolver,
  readTarget,
} from './lib/target.mjs'

const first = readTarget(process.argv[2])
const second = readTarget(process.argv[3])
const NOTE = 'com.example.clients.note'
const POST = 'app.bsky.feed.post'
const PREFERENCES = [
  { $type: 'app.bsky.actor.defs#adultContentPref', enabled: false },
  { $type: 'app.bsky.actor.defs#personalDetailsPref', birthDate: '1969-07-20T20:17:40.000Z' },
  { $type: 'app.bsky.actor.defs#interestsPref', tags: ['gardening', 'Zürich'] },
]

/** An account with a past: records in three collections, changed and deleted ones, blobs shared and single, preferences. */
async function furnish(target) {
  const account = await newAccount(target)
  const { agent, did } = account
  const repo = agent.com.atproto.repo
  const blobs = []
  const files = [
    [Buffer.from([0xff]), 'text/plain'],
    [crypto.randomBytes(70_000), 'application/x-noise'],
    [crypto.randomBytes(1 << 20), 'application/octet-stream'],
  ]
  for (const [bytes, encoding] of files) {
    const { data } = await repo.uploadBlob(bytes, { encoding })
    blobs.push(data.blob)
  }
  const create = (collection, rkey, value) => ({
    $type: 'com.atproto.repo.applyWrites#create',
    collection,
    rkey,
    value: { $type: collection, ...value },
  })
  const notes = Array.from({ length: 180 }, (_, index) =>
    create(NOTE, `n${index}`, { text: `Nr. ${index} – ${'é'.repeat(index)}`, index, nested: { list: [index, null, true] } }),
  )
  await repo.applyWrites({ repo: did, writes: notes })
  const pictures = [...blobs, blobs[0]].map((file, index) => create(NOTE, `blob${index}`, { file }))
  await repo.applyWrites({ repo: did, writes: pictures })
  await repo.createRecord({ repo: did, collection: POST, record: { $type: POST, text: 'hi', createdAt: new Date().toISOString() } })
  await repo.putRecord({ repo: did, collection: 'com.example.clients.self', rkey: 'self', record: { $type: 'com.example.clients.self' } })
  await repo.putRecord({ repo: did, collection: NOTE, rkey: 'n0', record: { $type: NOTE, text: 'changed' } })
  for (const rkey of ['n1', 'n90', 'n179']) await repo.deleteRecord({ repo: did, collection: NOTE, rkey })
  await agent.app.bsky.actor.putPreferences({ preferences: PREFERENCES })
  return account
}

/** Everything that the account holds on that host, in a form that compares. */
async function contents({ agent, did }, target, signingKey) {
  const car = new Uint8Array((await agent.com.atproto.sync.getRepo({ did })).data)
  const { creates } = await verifyRepoCar(car, did, signingKey)
  const { root, blocks } = await readCarWithRoot(car)
  const commit = await new MemoryBlockstore(blocks).readObj(root, def.commit)
  const records = creates.map(({ collection, rkey, cid }) => ({
    path: `${collection}/${rkey}`,
    cid: cid.toString(),
    bytes: Buffer.from(blocks.get(cid)).toString('base64'),
  }))
  const listed = []
  const { data: repo } = await agent.com.atproto.repo.describeRepo({ repo: did })
  for (const collection of [...repo.collections].sort()) {
    let cursor
    do {
      const { data } = await agent.com.atproto.repo.listRecords({ repo: did, collection, limit: 100, cursor })
      listed.push(...data.records.map(({ uri, cid, value }) => ({ uri, cid, value: JSON.parse(JSON.stringify(value)) })))
      cursor = data.cursor
    } while (cursor)
  }
  const blobs = []
  let cursor
  do {
    const { data } = await agent.com.atproto.sync.listBlobs({ did, limit: 100, cursor })
    for (const cid of data.cids) {
      const { bytes, type } = await getBlob({ agent, did }, target, cid)
      // A host may name a character set with a text; nobody asked for it, and it says nothing of the bytes.
      blobs.push({ cid, type: type?.split(';')[0], size: bytes.length, sha256: crypto.createHash('sha256').update(bytes).digest('hex') })
    }
    cursor = data.cursor
  } while (cursor)
  blobs.sort((a, b) => a.cid.localeCompare(b.cid))
  const { data } = await agent.app.bsky.actor.getPreferences()
  // A host may add what it works out from the others; that is nobody's to carry.
  const preferences = data.preferences.filter(({ $type }) => $type !== 'app.bsky.actor.defs#declaredAgePref')
  return { rev: commit.rev, tree: commit.data.toString(), records, listed, blobs, preferences }
}

/** A blob as it lies there. The client would read a text as a string, and lose what is no UTF-8. */
async function getBlob({ agent, did }, target, cid) {
  const query = new URLSearchParams({ did, cid })
  const headers = { authorization: `Bearer ${agent.session.accessJwt}` }
  const response = await fetch(`${target.url}/xrpc/com.atproto.sync.getBlob?${query}`, { headers })
  assert.equal(response.status, 200, `getBlob ${cid}: ${response.status}`)
  return { bytes: Buffer.from(await response.arrayBuffer()), type: response.headers.get('content-type') }
}

async function copyBlobs(account, from, to) {
  let copied = 0
  for (;;) {
    const { data } = await to.com.atproto.repo.listMissingBlobs({ limit: 2 })
    if (data.blobs.length === 0) return copied
    for (const { cid } of data.blobs) {
      const { bytes, type } = await getBlob(account, from, cid)
      await to.com.atproto.repo.uploadBlob(bytes, { encoding: type })
      if (++copied > 100) throw new Error('the host goes on missing what it was given')
    }
  }
}

async function move(checks, from, to, label) {
  const check = (name, body) => checks.check(`${label}: ${name}`, body)
  const codes = new ConfirmationCodes(from)
  const resolver = newResolver(to)
  const old = await furnish(from)
  const { did } = old
  const oldKey = await resolver.did.resolveAtprotoKey(did, true)
  const before = await contents(old, from, oldKey)
  await check('the account to be moved is furnished', () => {
    assert.equal(before.records.length, before.listed.length)
    assert.equal(before.blobs.length, 3)
    assert.deepEqual(before.preferences, PREFERENCES)
  })
  const stream = new EventStream(to, 0)
  const fresh = { agent: newAgent(to), did, input: await accountInput(to, newHandle(to, 'moved')) }
  const api = fresh.agent.com.atproto
  const { data: host } = await api.server.describeServer()
  const serviceToken = async (more) => (await old.agent.com.atproto.server.getServiceAuth({ aud: host.did, ...more })).data.token
  const open = async (token) => {
    const options = { encoding: 'application/json', ...(token && { headers: { authorization: `Bearer ${token}` } }) }
    return api.server.createAccount({ ...fresh.input, did }, options)
  }

  await check('createAccount for a DID is refused without its word, or with a word for something else', async () => {
    const names = ['AuthenticationRequired', 'AuthMissing', 'BadJwt', 'BadJwtAudience', 'BadJwtLexiconMethod', 'InvalidToken', 'BadJwtSignature']
    await refused(open(), names)
    await refused(open(await serviceToken({ lxm: 'com.atproto.repo.uploadBlob' })), names)
    await refused(open(await serviceToken({ lxm: 'com.atproto.server.createAccount', aud: 'did:web:elsewhere.example' })), names)
  })
  await check('createAccount with the DID’s word makes a deactivated account', async () => {
    const { data } = await open(await serviceToken({ lxm: 'com.atproto.server.createAccount' }))
    assert.equal(data.did, did)
    await fresh.agent.login({ identifier: did, password: fresh.input.password })
    const { data: status } = await api.server.checkAccountStatus()
    assert.deepEqual([status.activated, status.validDid], [false, false])
  })
  await check('importRepo refuses what is no repository', async () => {
    const garbage = api.repo.importRepo(crypto.randomBytes(1000), { encoding: 'application/vnd.ipld.car' })
    await assert.rejects(garbage)
    if (to.reference) return
    const stranger = await newAccount(to)
    const theirs = await stranger.agent.com.atproto.sync.getRepo({ did: stranger.did })
    const theft = api.repo.importRepo(new Uint8Array(theirs.data), { encoding: 'application/vnd.ipld.car' })
    await refused(theft, ['InvalidRequest', 'InvalidRepo'], 400)
  })
  await check('getRepo here, importRepo there', async () => {
    const car = await old.agent.com.atproto.sync.getRepo({ did })
    await api.repo.importRepo(new Uint8Array(car.data), { encoding: 'application/vnd.ipld.car' })
    const { data: status } = await api.server.checkAccountStatus()
    assert.deepEqual([status.indexedRecords, status.expectedBlobs, status.importedBlobs], [before.records.length, 3, 0])
  })
  await check('listMissingBlobs names every blob until all are uploaded', async () => {
    assert.equal(await copyBlobs(old, from, fresh.agent), 3)
    const { data: status } = await api.server.checkAccountStatus()
    assert.deepEqual([status.expectedBlobs, status.importedBlobs], [3, 3])
  })
  await check('preferences are carried over', async () => {
    const { data } = await old.agent.app.bsky.actor.getPreferences()
    await fresh.agent.app.bsky.actor.putPreferences(data)
  })
  await check('activateAccount is refused while the identity is elsewhere', async () => {
    await refused(api.server.activateAccount(), 'InvalidRequest', 400)
  })

  const recovery = await Secp256k1Keypair.create()
  await check('the old host signs the new identity for whoever has its code, the new one submits it', async () => {
    const { data: recommended } = await api.identity.getRecommendedDidCredentials()
    assert.ok(recommended.rotationKeys.length > 0)
    const wanted = { ...recommended, rotationKeys: [recovery.did(), ...recommended.rotationKeys] }
    await old.agent.com.atproto.identity.requestPlcOperationSignature()
    const token = await codes.next({ did, email: old.input.email, purpose: 'plc_operation' })
    const sign = (more) => old.agent.com.atproto.identity.signPlcOperation({ ...wanted, token, ...more })
    await refused(sign({ token: 'AAAAA-AAAAA' }), ['InvalidToken', 'ExpiredToken'], 400)
    const { data: signed } = await sign()
    const elsewhere = { ...signed.operation, services: { atproto_pds: { type: 'AtprotoPersonalDataServer', endpoint: 'https://elsewhere.example' } } }
    await refused(api.identity.submitPlcOperation({ operation: elsewhere }), 'InvalidRequest', 400)
    await api.identity.submitPlcOperation({ operation: signed.operation })
    await refused(sign(), ['InvalidToken', 'ExpiredToken'], 400)
  })
  await check('activateAccount there, deactivateAccount here', async () => {
    await api.server.activateAccount()
    await old.agent.com.atproto.server.deactivateAccount({})
    const { data: status } = await api.server.checkAccountStatus()
    assert.deepEqual([status.activated, status.validDid], [true, true])
    const { data: there } = await api.sync.getRepoStatus({ did })
    const { data: here } = await newAgent(from).com.atproto.sync.getRepoStatus({ did })
    assert.deepEqual([there.active, here.active, here.status], [true, false, 'deactivated'])
  })

  const newKey = await resolver.did.resolveAtprotoKey(did, true)
  await check('the identity names the new host, key and handle, and the owner’s recovery key first', async () => {
    const document = await resolver.did.resolveAtprotoData(did, true)
    assert.equal(document.handle, fresh.input.handle)
    assert.notEqual(newKey, oldKey)
    const { data: recommended } = await api.identity.getRecommendedDidCredentials()
    assert.equal(document.pds, recommended.services.atproto_pds.endpoint)
    assert.equal(newKey, recommended.verificationMethods.atproto)
    const directory = new plc.Client(to.plcUrl)
    const operations = await directory.getOperationLog(did)
    const data = await plc.validateOperationLog(did, operations)
    assert.equal(operations.length, 2)
    assert.deepEqual(data.rotationKeys, [recovery.did(), ...recommended.rotationKeys])
  })
  // The reference host signs anew only with the next write, so the signature is looked at after that.
  const after = await check('everything is there', () => contents(fresh, to, to.reference ? undefined : newKey))
  await check('every record is the same, byte for byte, and so is the tree', () => {
    assert.deepEqual(after.records, before.records)
    assert.deepEqual(after.listed, before.listed)
    assert.equal(after.tree, before.tree)
  })
  await check('every blob is the same, bytes and type', () => assert.deepEqual(after.blobs, before.blobs))
  await check('the preferences are the same', () => assert.deepEqual(after.preferences, before.preferences))
  await check('the new host writes for the account and signs with the new key, the old one writes no more', async () => {
    const input = { repo: did, collection: NOTE, rkey: 'after', record: { $type: NOTE, text: 'after' } }
    await api.repo.createRecord(input)
    const names = ['AccountDeactivated', 'RepoDeactivated', 'InvalidRequest', 'AuthenticationRequired', 'InvalidToken']
    await refused(old.agent.com.atproto.repo.createRecord({ ...input, rkey: 'stale' }), names)
    const written = await contents(fresh, to, newKey)
    assert.equal(written.records.length, before.records.length + 1)
    assert.ok(written.rev > before.rev, 'the revision does not grow')
  })
  await check('the new host announces identity, account and repository, and then what is written', async () => {
    await stream.until('the write', () => stream.about(did, '#commit').some(({ ops }) => ops[0]?.path === `${NOTE}/after`))
    const told = stream.about(did)
    const kinds = new Set(told.map(({ kind }) => kind))
    assert.ok(kinds.has('#identity') && kinds.has('#account'), [...kinds].join())
    assert.ok(kinds.has('#sync') || told.filter(({ kind }) => kind === '#commit').length > 1, 'the imported repository was not announced')
    assert.equal(told.filter(({ kind }) => kind === '#account').at(-1).active, true)
  })
  stream.close()
  await check('the handle resolves at the new host', async () => {
    const { data } = await newAgent(to).com.atproto.identity.resolveHandle({ handle: fresh.input.handle })
    assert.equal(data.did, did)
  })
}

await scenario(async (checks) => {
  await checks.check('both hosts use one directory', () => assert.equal(first.plcUrl, second.plcUrl))
  await move(checks, first, second, 'there')
  await move(checks, second, first, 'back')
})
