// The official sync and repository packages against a host: everything it streams and exports is verified, from the
// signature down to the last tree node.
//
//   scripts/clients sync TARGET [SHORT]
//
// SHORT is a host whose event stream replays a few seconds at most, for the check of outdated cursors.
import crypto from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { parseCid } from '@atproto/lex-data'
import {
  MST,
  MemoryBlockstore,
  Repo,
  def,
  readCar,
  readCarWithRoot,
  verifyCommitSig,
  verifyDiffCar,
  verifyProofs,
  verifyRecords,
  verifyRepoCar,
} from '@atproto/repo'
import { Firehose } from '@atproto/sync'
import { NotApplicable, assert, refused, scenario } from './lib/checks.mjs'
import { EventStream } from './lib/stream.mjs'
import { newAccount, newAgent, newHandle, newResolver, readTarget } from './lib/target.mjs'

const target = readTarget(process.argv[2])
const short = process.argv[3] ? readTarget(process.argv[3]) : undefined
const NOTE = 'com.example.clients.note'
const OTHER = 'com.example.clients.other'
const ABSENT_DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const ABSENT_CID = 'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a'
const COMMIT_BYTES_MAX = 2_000_000
const COMMIT_OPS_MAX = 200
const seed = Number(process.env.SEED ?? crypto.randomInt(2 ** 31))

/** A seeded generator (mulberry32), so that a failure can be had again with SEED=…. */
function generator(state) {
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

const note = (text, more = {}) => ({ $type: NOTE, text, ...more })
const operation = (kind, collection, rkey, value) => ({
  $type: `com.atproto.repo.applyWrites#${kind}`,
  collection,
  rkey,
  ...(value && { value }),
})
const key = (did) => newResolver(target).did.resolveAtprotoKey(did, true)
const bytes = async (promise) => new Uint8Array((await promise).data)

/**
 * Writes of every kind, in an order that makes the tree split, merge and grow. Answers what is there in the end, and
 * the operations of each commit.
 */
async function writeALot({ agent, did }) {
  const random = generator(seed)
  const repo = agent.com.atproto.repo
  const present = new Map()
  const history = []
  const apply = async (writes) => {
    await repo.applyWrites({ repo: did, writes })
    history.push(writes.map(({ $type, collection, rkey }) => `${collection}/${rkey} ${$type.split('#')[1]}`))
    for (const { collection, rkey, value } of writes) {
      const path = `${collection}/${rkey}`
      if (value) present.set(path, value)
      else present.delete(path)
    }
  }
  const name = () => Math.floor(random() * 1e9).toString(36)
  const first = Array.from({ length: 100 }, () => [NOTE, name()])
  await apply(first.map(([collection, rkey]) => operation('create', collection, rkey, note(rkey))))
  for (let round = 0; round < 20; round++) {
    const touched = new Set()
    const writes = []
    const count = 1 + Math.floor(random() * 20)
    for (let index = 0; index < count; index++) {
      const paths = [...present.keys()].filter((path) => !touched.has(path))
      const chosen = paths[Math.floor(random() * paths.length)]
      const [collection, rkey] = random() < 0.4 || !chosen ? [random() < 0.5 ? NOTE : OTHER, name()] : chosen.split('/')
      touched.add(`${collection}/${rkey}`)
      if (!present.has(`${collection}/${rkey}`)) writes.push(operation('create', collection, rkey, { $type: collection, text: name() }))
      else if (random() < 0.5) writes.push(operation('update', collection, rkey, { $type: collection, text: name() }))
      else writes.push(operation('delete', collection, rkey))
    }
    await apply(writes)
  }
  const single = await repo.createRecord({ repo: did, collection: NOTE, rkey: 'single', record: note('single') })
  history.push([`${NOTE}/single create`])
  await repo.putRecord({ repo: did, collection: NOTE, rkey: 'single', record: note('put') })
  history.push([`${NOTE}/single update`])
  await repo.deleteRecord({ repo: did, collection: NOTE, rkey: 'single' })
  history.push([`${NOTE}/single delete`])
  assert.ok(single.data.commit)
  return { present, history }
}

/** Takes the operations of a commit back, with nothing but the blocks that came with it. Answers the root before. */
async function inverted(message, blocks, data) {
  let tree = MST.load(new MemoryBlockstore(blocks), data)
  for (const { action, path, prev } of [...message.ops].reverse()) {
    if (action === 'create') tree = await tree.delete(path)
    else if (action === 'update') tree = await tree.update(path, prev)
    else tree = await tree.add(path, prev)
  }
  return tree.getPointer()
}

/** All that a consumer may demand of one #commit message. Answers what the next one is compared with. */
async function verifyCommit(message, signingKey, before) {
  const { root, blocks } = await readCarWithRoot(message.blocks)
  assert.ok(root.equals(message.commit), 'the CAR’s root is not the commit')
  const commit = await new MemoryBlockstore(blocks).readObj(root, def.commit)
  assert.ok(await verifyCommitSig(commit, signingKey), 'the signature does not verify')
  assert.deepEqual([commit.did, commit.rev, commit.version], [message.repo, message.rev, 3])
  assert.ok(message.blocks.length <= COMMIT_BYTES_MAX, `${message.blocks.length} bytes of blocks`)
  assert.ok(message.ops.length <= COMMIT_OPS_MAX, `${message.ops.length} operations`)
  assert.notEqual(message.tooBig, true)
  const tree = MST.load(new MemoryBlockstore(blocks), commit.data)
  for (const { action, path, cid } of message.ops) {
    const found = await tree.get(path)
    if (action === 'delete') {
      assert.equal(found, null, `${path} was deleted and is still there`)
      assert.equal(cid, null)
    } else {
      assert.ok(found?.equals(cid), `${path} is not what the operation says`)
      assert.ok(blocks.has(cid), `the record ${path} did not come along`)
    }
  }
  if (before) {
    assert.equal(message.since, before.rev, 'since is not the revision before')
    assert.ok(message.rev > before.rev, 'the revision does not grow')
    assert.ok(message.prevData?.equals(before.data), 'prevData is not the root before')
    const root = await inverted(message, blocks, commit.data)
    assert.ok(root.equals(before.data), 'the operations, taken back, do not give the root before')
  }
  return { rev: commit.rev, data: commit.data }
}

async function streaming(checks) {
  const stream = new EventStream(target, 0)
  const account = await newAccount(target)
  const { agent, did } = account
  await checks.check('a new account is announced: identity and account before its first commit', async () => {
    await stream.until('the first commit', () => stream.about(did, '#commit').length > 0)
    const kinds = stream.about(did).map(({ kind }) => kind)
    assert.ok(kinds.indexOf('#identity') >= 0 && kinds.indexOf('#identity') < kinds.indexOf('#commit'), kinds.join())
    assert.ok(kinds.indexOf('#account') >= 0 && kinds.indexOf('#account') < kinds.indexOf('#commit'), kinds.join())
    const [told] = stream.about(did, '#account')
    assert.equal(told.active, true)
  })
  const start = stream.about(did).at(-1)?.seq

  const events = []
  const errors = []
  const arrivals = new EventEmitter()
  const firehose = new Firehose({
    idResolver: newResolver(target),
    service: target.url.replace(/^http/, 'ws'),
    getCursor: () => start,
    unauthenticatedHandles: true,
    handleEvent: (event) => {
      events.push(event)
      arrivals.emit('event')
    },
    onError: (error) => {
      errors.push(error)
      arrivals.emit('event')
    },
  })
  const following = firehose.start()
  const written = await writeALot(account)
  const end = (await agent.com.atproto.sync.getLatestCommit({ did })).data

  await checks.check('every write arrives, in order, as the official consumer authenticates it', async () => {
    await stream.until('the last commit', () => stream.about(did, '#commit').at(-1)?.rev === end.rev)
    const mine = () => events.filter((event) => event.did === did && ['create', 'update', 'delete'].includes(event.event))
    const deadline = AbortSignal.timeout(20_000)
    while (mine().length < written.history.flat().length && errors.length === 0) {
      await once(arrivals, 'event', { signal: deadline })
    }
    assert.deepEqual(errors.map((error) => `${error.message} ${error.cause ?? ''}`), [])
    // The host may order the operations within a commit as it likes; the commits it may not.
    const commits = Map.groupBy(mine(), ({ seq }) => seq)
    const came = [...commits.values()].map((batch) => batch.map(({ event, collection, rkey }) => `${collection}/${rkey} ${event}`).sort())
    assert.deepEqual(came, written.history.map((batch) => [...batch].sort()))
  })
  await firehose.destroy()
  await following

  await checks.check('every commit verifies: signature, records, revision, and its operations taken back', async () => {
    const signingKey = await key(did)
    const commits = stream.about(did, '#commit')
    assert.ok(commits.length >= 24, `${commits.length} commits`)
    let before
    for (const message of commits) {
      try {
        before = await verifyCommit(message, signingKey, before)
      } catch (error) {
        throw new Error(`seq ${message.seq}, ${message.ops.length} operations: ${error.message} (SEED=${seed})`)
      }
    }
    assert.equal(before.rev, end.rev)
  })
  await checks.check('sequence numbers grow, times are times, and frames are what they say', async () => {
    let last = 0
    for (const { header, body } of stream.frames) {
      assert.deepEqual([header.op, typeof header.t], [1, 'string'])
      assert.ok(Number.isSafeInteger(body.seq) && body.seq > last, `seq ${body.seq} after ${last}`)
      assert.ok(!Number.isNaN(Date.parse(body.time)), body.time)
      last = body.seq
    }
  })
  await checks.check('a stream without a cursor begins with what happens next', async () => {
    const live = new EventStream(target)
    await live.until('the connection', () => live.socket.readyState === 1)
    let attempts = 0
    do {
      await agent.com.atproto.repo.createRecord({ repo: did, collection: NOTE, record: note(`live ${attempts}`) })
      await live.until('a live event', () => live.about(did).length > 0, 2_000).catch(() => {})
    } while (live.about(did).length === 0 && ++attempts < 5)
    const [first] = live.about(did)
    assert.ok(first, 'nothing came live')
    assert.ok(first.seq > start + written.history.length, 'it began in the past')
    assert.ok(first.rev > end.rev, 'it began before it was opened')
    live.close()
  })
  await checks.check('a new handle is announced as #identity', async () => {
    const handle = newHandle(target, 'renamed')
    await agent.com.atproto.identity.updateHandle({ handle })
    await stream.until('#identity', () => stream.about(did, '#identity').length > 1)
    const told = stream.about(did, '#identity').at(-1)
    assert.ok(told.handle === undefined || told.handle === handle, told.handle)
  })
  await checks.check('deactivation and return are announced as #account', async () => {
    await agent.com.atproto.server.deactivateAccount({})
    const off = await stream.until('#account', () => stream.about(did, '#account').find(({ active }) => !active))
    assert.equal(off.status, 'deactivated')
    await agent.com.atproto.server.activateAccount()
    await stream.until('#account', () => stream.about(did, '#account').at(-1).active)
    const { data: head } = await agent.com.atproto.sync.getLatestCommit({ did })
    for (const message of stream.about(did, '#sync')) {
      const { root, blocks } = await readCarWithRoot(message.blocks)
      const commit = await new MemoryBlockstore(blocks).readObj(root, def.commit)
      assert.ok(await verifyCommitSig(commit, await key(did)), 'the signature of #sync does not verify')
      assert.equal(commit.rev, message.rev)
    }
    const sync = stream.about(did, '#sync').at(-1)
    if (sync) assert.equal(sync.rev, head.rev)
  })
  stream.close()
  return { account, stream, written }
}

async function cursors(checks, { account, stream }) {
  const { did } = account
  await checks.check('a cursor resumes right after itself, with the same events', async () => {
    const all = stream.frames.map(({ body }) => body.seq)
    const middle = all[Math.floor(all.length / 2)]
    const resumed = new EventStream(target, middle)
    const expected = stream.frames.filter(({ body }) => body.seq > middle)
    await resumed.until('the rest', () => resumed.frames.length >= expected.length)
    resumed.close()
    const plain = ({ header, body }) => JSON.stringify([header.t, body.seq, body.repo ?? body.did, body.rev, body.time])
    assert.deepEqual(resumed.frames.slice(0, expected.length).map(plain), expected.map(plain))
  })
  await checks.check('a cursor in the future is refused on the stream: FutureCursor', async () => {
    const future = new EventStream(target, 2 ** 40)
    const { body } = await future.until('the refusal', () => future.frames.find(({ header }) => header.op === -1))
    assert.equal(body.error, 'FutureCursor')
    await future.until('the end', () => future.closed)
    assert.equal(future.frames.length, 1)
  })
  await checks.check('a cursor that is no number is refused', async () => {
    const broken = new EventStream(target, 'yesterday')
    await broken.until('the end', () => broken.closed || broken.frames.some(({ header }) => header.op === -1))
    assert.equal(broken.frames.filter(({ header }) => header.op === 1).length, 0, 'events came')
    broken.close()
  })
  await checks.check('an outdated cursor is told, and the stream goes on: #info OutdatedCursor', async () => {
    if (!short) throw new NotApplicable('no host with a short replay window was given')
    const other = await newAccount(short)
    const write = (text) => other.agent.com.atproto.repo.createRecord({ repo: other.did, collection: NOTE, record: note(text) })
    await write('old')
    const deadline = Date.now() + 60_000
    for (;;) {
      const late = new EventStream(short, 0)
      const { data } = await write('new')
      await late.until('the newest event', () => late.about(other.did, '#commit').some(({ rev }) => rev === data.commit.rev))
      late.close()
      const [first] = late.frames
      if (first.header.t === '#info') {
        assert.equal(first.body.name, 'OutdatedCursor')
        assert.ok(late.frames.slice(1).every(({ header }) => header.t !== '#info'))
        return
      }
      assert.ok(Date.now() < deadline, 'the window never passed')
      await new Promise((resolve) => setTimeout(resolve, 500))
    }
  })
  assert.ok(did)
}

async function exports(checks, { account, written }) {
  const { agent, did } = account
  const anyone = newAgent(target).com.atproto.sync
  const signingKey = await key(did)
  const full = await checks.check('getRepo verifies whole: signature, tree, every record', async () => {
    const answer = await anyone.getRepo({ did })
    assert.equal(answer.headers['content-type'], 'application/vnd.ipld.car')
    const car = new Uint8Array(answer.data)
    const { creates, commit } = await verifyRepoCar(car, did, signingKey)
    const { data: head } = await anyone.getLatestCommit({ did })
    assert.deepEqual([commit.cid.toString(), commit.rev], [head.cid, head.rev])
    const found = new Map(creates.map(({ collection, rkey, cid }) => [`${collection}/${rkey}`, cid.toString()]))
    for (const path of written.present.keys()) assert.ok(found.has(path), `${path} is missing`)
    for (const [path, cid] of found) {
      const [collection, rkey] = path.split('/')
      if (found.size > 400) break
      const { data } = await agent.com.atproto.repo.getRecord({ repo: did, collection, rkey })
      assert.equal(data.cid, cid, path)
    }
    return { car, found, head }
  })
  await checks.check('every block of getRepo belongs to it, and none is there twice', async () => {
    const { blocks } = await readCarWithRoot(full.car)
    const store = new MemoryBlockstore(blocks)
    const commit = await store.readObj(parseCid(full.head.cid), def.commit)
    const tree = MST.load(store, commit.data)
    const needed = new Set([full.head.cid, ...full.found.values()])
    for (const cid of (await tree.allCids()).toList()) needed.add(cid.toString())
    const there = blocks.cids().map(String)
    assert.deepEqual(there.sort(), [...needed].sort())
  })
  await checks.check('getRepo since a revision gives what came after it', async () => {
    const store = new MemoryBlockstore((await readCarWithRoot(full.car)).blocks)
    const repo = await Repo.load(store, parseCid(full.head.cid))
    await agent.com.atproto.repo.createRecord({ repo: did, collection: NOTE, rkey: 'later', record: note('later') })
    const car = await bytes(anyone.getRepo({ did, since: full.head.rev }))
    const { writes } = await verifyDiffCar(repo, car, did, signingKey)
    assert.deepEqual(writes.map(({ action, rkey }) => [action, rkey]), [['create', 'later']])
    assert.ok(car.length < full.car.length / 2, 'it is as large as the whole')
  })
  await checks.check('getRepo of an account without records verifies', async () => {
    const empty = await newAccount(target)
    const { creates } = await verifyRepoCar(await bytes(anyone.getRepo({ did: empty.did })), empty.did, await key(empty.did))
    assert.deepEqual(creates, [])
  })
  const [[path, cid]] = [...full.found]
  const [collection, rkey] = path.split('/')
  await checks.check('getRecord proves that a record is there, and what it holds', async () => {
    const proof = await bytes(anyone.getRecord({ did, collection, rkey }))
    const claims = [{ collection, rkey, cid: parseCid(cid) }]
    const { verified } = await verifyProofs(proof, claims, did, signingKey)
    assert.equal(verified.length, 1)
    const records = await verifyRecords(proof, did, signingKey)
    const { data } = await agent.com.atproto.repo.getRecord({ repo: did, collection, rkey })
    const found = records.find((record) => record.collection === collection && record.rkey === rkey)
    assert.equal(found.record.text, data.value.text)
    const wrong = [{ collection, rkey, cid: parseCid(ABSENT_CID) }]
    assert.equal((await verifyProofs(proof, wrong, did, signingKey)).unverified.length, 1)
  })
  await checks.check('getRecord proves that a record is not there', async () => {
    for (const absent of ['0', 'mmmmmmmm', 'zzzzzzzzzzzz']) {
      const proof = await bytes(anyone.getRecord({ did, collection: NOTE, rkey: absent }))
      const claims = [{ collection: NOTE, rkey: absent, cid: null }]
      const { verified } = await verifyProofs(proof, claims, did, signingKey)
      assert.equal(verified.length, 1, absent)
    }
  })
  await checks.check('getBlocks gives the blocks that were asked for', async () => {
    const { data: head } = await anyone.getLatestCommit({ did })
    const cids = [head.cid, cid]
    const { blocks } = await readCar(await bytes(anyone.getBlocks({ did, cids })))
    assert.deepEqual(blocks.cids().map(String).sort(), [...cids].sort())
    const names = ['BlockNotFound', 'InvalidRequest']
    await refused(anyone.getBlocks({ did, cids: [head.cid, ABSENT_CID] }), names, 400)
  })
  await checks.check('getRepoStatus tells that it is active, and its revision', async () => {
    const { data } = await anyone.getRepoStatus({ did })
    const { data: head } = await anyone.getLatestCommit({ did })
    assert.deepEqual([data.did, data.active, data.rev], [did, true, head.rev])
  })
  await checks.check('a repository that is not here is refused by every method: RepoNotFound', async () => {
    const absent = { did: ABSENT_DID }
    await refused(anyone.getRepo(absent), 'RepoNotFound', 400)
    await refused(anyone.getLatestCommit(absent), 'RepoNotFound', 400)
    await refused(anyone.getRepoStatus(absent), 'RepoNotFound', 400)
    await refused(anyone.getRecord({ ...absent, collection, rkey }), 'RepoNotFound', 400)
    await refused(anyone.getBlocks({ ...absent, cids: [cid] }), 'RepoNotFound', 400)
    await refused(anyone.listBlobs(absent), 'RepoNotFound', 400)
  })
}

async function lists(checks, { account }) {
  const { agent, did } = account
  const anyone = newAgent(target).com.atproto.sync
  await checks.check('listRepos walks every account once, with its head', async () => {
    const more = [await newAccount(target), await newAccount(target)]
    const seen = new Map()
    let cursor
    do {
      const { data } = await anyone.listRepos({ limit: 2, cursor })
      assert.ok(data.repos.length <= 2)
      for (const repo of data.repos) {
        assert.ok(!seen.has(repo.did), `${repo.did} twice`)
        seen.set(repo.did, repo)
      }
      cursor = data.cursor
    } while (cursor && seen.size < 10_000)
    for (const wanted of [did, ...more.map((other) => other.did)]) {
      const { data: head } = await anyone.getLatestCommit({ did: wanted })
      const listed = seen.get(wanted)
      assert.ok(listed, `${wanted} is missing`)
      assert.deepEqual([listed.head, listed.rev], [head.cid, head.rev])
      assert.notEqual(listed.active, false)
    }
  })
  await checks.check('listBlobs walks every blob once, and since a revision only the newer', async () => {
    const cids = []
    const revs = []
    for (let index = 0; index < 5; index++) {
      const { data } = await agent.uploadBlob(crypto.randomBytes(100 + index), { encoding: 'application/octet-stream' })
      const record = note(`blob ${index}`, { file: data.blob })
      const written = await agent.com.atproto.repo.createRecord({ repo: did, collection: NOTE, record })
      cids.push(data.blob.ref.toString())
      revs.push(written.data.commit.rev)
    }
    const walk = async (params) => {
      const seen = []
      let cursor
      do {
        const { data } = await anyone.listBlobs({ did, limit: 2, cursor, ...params })
        seen.push(...data.cids)
        cursor = data.cursor
      } while (cursor && seen.length < 100)
      return seen.sort()
    }
    assert.deepEqual(await walk({}), [...cids].sort())
    assert.deepEqual(await walk({ since: revs[2] }), cids.slice(3).sort())
  })
}

await scenario(async (checks) => {
  const state = await streaming(checks)
  await cursors(checks, state)
  await exports(checks, state)
  await lists(checks, state)
})
