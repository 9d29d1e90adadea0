// The official TypeScript client against a host: accounts and sessions, records, blobs, identity, and every refusal by name.
//
//   scripts/clients api TARGET
//
// TARGET may hold "validated": {"collection", "valid", "invalid"}, a record type whose lexicon the host knows with a
// record that fits it and one that does not (default: app.bsky.feed.post).
import crypto from 'node:crypto'
import http from 'node:http'
import { gzipSync } from 'node:zlib'
import { AtpAgent, BlobRef } from '@atproto/api'
import { verifySignature } from '@atproto/crypto'
import { NotApplicable, assert, refused, scenario } from './lib/checks.mjs'
import {
  ConfirmationCodes,
  accountInput,
  adminHeaders,
  newAccount,
  newAgent,
  newHandle,
  newResolver,
  readTarget,
} from './lib/target.mjs'

const target = readTarget(process.argv[2])
const now = () => new Date().toISOString()
const POST = 'app.bsky.feed.post'
const LIKE = 'app.bsky.feed.like'
const NOTE = 'com.example.clients.note' // No host knows its lexicon.
const post = (text, more = {}) => ({ $type: POST, text, createdAt: now(), ...more })
const note = (text, more = {}) => ({ $type: NOTE, text, ...more })
const validated = target.validated ?? {
  collection: POST,
  valid: post('fits its lexicon'),
  invalid: { $type: POST, text: 42, createdAt: now() },
}
const ABSENT_CID = 'bafyreidfayvfuwqa7qlnopdjiqrxzs6blmoeu4rujcjtnci5beludirz2a'
const ABSENT_DID = 'did:plc:aaaaaaaaaaaaaaaaaaaaaaaa'
const TID = /^[234567abcdefghij][234567abcdefghijklmnopqrstuvwxyz]{12}$/

/** Where the reference host falls short of the specification, the check waits for a host that does not. */
function notTheReference(what) {
  if (target.reference) throw new NotApplicable(`the reference host ${what}`)
}

/** A request past the client's own checks, for what it would not let through. */
async function raw(method, path, { headers = {}, body } = {}) {
  const response = await fetch(`${target.url}${path}`, { method, headers, body })
  const text = await response.text()
  let json
  try {
    json = JSON.parse(text)
  } catch {
    json = undefined
  }
  return { status: response.status, headers: response.headers, text, json }
}

const bearer = (agent) => ({ authorization: `Bearer ${agent.session.accessJwt}` })
const asJson = (agent, value) => ({
  headers: { ...bearer(agent), 'content-type': 'application/json' },
  body: JSON.stringify(value),
})
const claims = (jwt) => JSON.parse(Buffer.from(jwt.split('.')[1], 'base64url').toString('utf8'))

async function server(checks) {
  const agent = newAgent(target)
  await checks.check('describeServer names the host and its domains', async () => {
    const { data } = await agent.com.atproto.server.describeServer()
    assert.match(data.did, /^did:(web|plc):/)
    assert.ok(data.availableUserDomains.includes(target.handleDomain), `domains: ${data.availableUserDomains}`)
  })
  await checks.check('_health answers with a version', async () => {
    const { status, json } = await raw('GET', '/xrpc/_health')
    assert.equal(status, 200)
    assert.equal(typeof json.version, 'string')
  })
  await checks.check('a browser on any origin may call: CORS', async () => {
    const headers = {
      origin: 'https://client.example',
      'access-control-request-method': 'POST',
      'access-control-request-headers': 'authorization,content-type,atproto-proxy',
    }
    const preflight = await raw('OPTIONS', '/xrpc/com.atproto.repo.createRecord', { headers })
    assert.ok([200, 204].includes(preflight.status), `preflight ${preflight.status}`)
    assert.equal(preflight.headers.get('access-control-allow-origin'), '*')
    assert.match(preflight.headers.get('access-control-allow-headers') ?? '', /\*|authorization/i)
    const answer = await raw('GET', '/xrpc/com.atproto.server.describeServer', { headers: { origin: headers.origin } })
    assert.equal(answer.headers.get('access-control-allow-origin'), '*')
  })
  await checks.check('a method that nobody serves is refused: MethodNotImplemented', async () => {
    const { status, json } = await raw('GET', '/xrpc/com.example.clients.nothing')
    // A host that proxies unknown methods may ask for a session first.
    assert.ok(['MethodNotImplemented', 'AuthMissing', 'AuthenticationRequired', 'InvalidRequest'].includes(json.error), json.error)
    assert.ok([400, 401, 501].includes(status), `status ${status}`)
  })
  await checks.check('a query sent as a procedure is refused', async () => {
    const { status, json } = await raw('POST', '/xrpc/com.atproto.server.describeServer')
    assert.ok([400, 405].includes(status), `status ${status}`)
    assert.equal(json.error, 'InvalidRequest')
  })
  await checks.check('a parameter that is missing, or of the wrong type, is refused: InvalidRequest', async () => {
    const missing = await raw('GET', '/xrpc/com.atproto.repo.getRecord?repo=a.test')
    assert.deepEqual([missing.status, missing.json?.error], [400, 'InvalidRequest'])
    const query = new URLSearchParams({ repo: ABSENT_DID, collection: POST, limit: 'many' })
    const wrong = await raw('GET', `/xrpc/com.atproto.repo.listRecords?${query}`)
    assert.deepEqual([wrong.status, wrong.json?.error], [400, 'InvalidRequest'])
    query.set('limit', '1000')
    const beyond = await raw('GET', `/xrpc/com.atproto.repo.listRecords?${query}`)
    assert.deepEqual([beyond.status, beyond.json?.error], [400, 'InvalidRequest'])
  })
}

async function accounts(checks) {
  const account = await checks.check('createAccount answers with a DID, the handle and a session', async () => {
    const created = await newAccount(target)
    assert.match(created.did, /^did:plc:[a-z2-7]{24}$/)
    assert.equal(created.handle, created.input.handle)
    assert.ok(created.agent.session.accessJwt && created.agent.session.refreshJwt)
    // Clients go on at the host that the document in the answer names.
    assert.equal(created.didDoc.id, created.did)
    assert.ok(created.didDoc.service.some(({ id }) => id.endsWith('#atproto_pds')))
    return created
  })
  if (!account) return undefined
  const { agent, did, handle, input } = account

  await checks.check('the DID document names the handle, a signing key and the host', async () => {
    const resolver = newResolver(target)
    const data = await resolver.did.resolveAtprotoData(did, true)
    assert.equal(data.handle, handle)
    assert.match(data.signingKey, /^did:key:z/)
    assert.ok(data.pds)
  })
  await checks.check('a handle that is taken is refused: HandleNotAvailable', async () => {
    const again = { ...(await accountInput(target)), handle }
    await refused(newAgent(target).createAccount(again), ['HandleNotAvailable', 'InvalidRequest'], 400)
  })
  await checks.check('a handle of no form is refused: InvalidHandle', async () => {
    const bad = { ...(await accountInput(target)), handle: `under_score${target.handleDomain}` }
    await refused(newAgent(target).createAccount(bad), ['InvalidHandle', 'InvalidRequest'], 400)
  })
  await checks.check('a handle under another domain is refused: UnsupportedDomain', async () => {
    const bad = { ...(await accountInput(target)), handle: 'someone.elsewhere.example' }
    await refused(newAgent(target).createAccount(bad), ['UnsupportedDomain', 'InvalidHandle'], 400)
  })
  await checks.check('somebody else’s DID cannot be brought along without its owner’s word', async () => {
    const theft = { ...(await accountInput(target)), did }
    await refused(newAgent(target).createAccount(theft), ['AuthenticationRequired', 'AuthMissing', 'InvalidRequest'])
  })

  await checks.check('createSession by handle, by DID and by mail address', async () => {
    for (const identifier of [handle, did, input.email]) {
      const fresh = newAgent(target)
      const { data } = await fresh.login({ identifier, password: input.password })
      assert.equal(data.did, did)
      assert.equal(data.handle, handle)
      assert.notEqual(data.active, false)
    }
  })
  await checks.check('a wrong password is refused: AuthenticationRequired', async () => {
    const wrong = newAgent(target).login({ identifier: handle, password: 'not this one' })
    await refused(wrong, 'AuthenticationRequired', 401)
  })
  await checks.check('an account that is not there is refused as a wrong password is', async () => {
    const absent = newAgent(target).login({ identifier: newHandle(target), password: 'x' })
    await refused(absent, 'AuthenticationRequired', 401)
  })
  await checks.check('getSession tells the account', async () => {
    const { data } = await agent.com.atproto.server.getSession()
    assert.deepEqual([data.did, data.handle, data.email], [did, handle, input.email])
  })
  await checks.check('no session, a broken token, and a refresh token used for access are refused by name', async () => {
    const path = '/xrpc/com.atproto.server.getSession'
    const none = await raw('GET', path)
    assert.equal(none.status, 401)
    assert.ok(['AuthMissing', 'AuthenticationRequired'].includes(none.json.error), none.json.error)
    const broken = await raw('GET', path, { headers: { authorization: 'Bearer not.a.token' } })
    assert.ok([400, 401].includes(broken.status), `status ${broken.status}`)
    assert.ok(['InvalidToken', 'BadJwt'].includes(broken.json.error), broken.json.error)
    const headers = { authorization: `Bearer ${agent.session.refreshJwt}` }
    const mixed = await raw('GET', path, { headers })
    assert.ok([400, 401].includes(mixed.status), `status ${mixed.status}`)
    assert.equal(mixed.json.error, 'InvalidToken')
  })
  await checks.check('a token whose claims were changed is refused: InvalidToken', async () => {
    const [head, , signature] = agent.session.accessJwt.split('.')
    const changed = { ...claims(agent.session.accessJwt), sub: ABSENT_DID }
    const forged = [head, Buffer.from(JSON.stringify(changed)).toString('base64url'), signature].join('.')
    const headers = { authorization: `Bearer ${forged}` }
    const { status, json } = await raw('GET', '/xrpc/com.atproto.server.getSession', { headers })
    assert.ok([400, 401].includes(status), `status ${status}`)
    assert.equal(json.error, 'InvalidToken')
  })
  await checks.check('refreshSession gives new tokens, and they work', async () => {
    const before = { ...agent.session }
    await agent.sessionManager.refreshSession()
    assert.notEqual(agent.session.refreshJwt, before.refreshJwt)
    assert.equal((await agent.com.atproto.server.getSession()).data.did, did)
  })
  await checks.check('a stored session is resumed by another client', async () => {
    const other = newAgent(target)
    const { data } = await other.resumeSession({ ...agent.session })
    assert.equal(data.did, did)
    assert.equal(other.session.did, did)
  })
  await checks.check('deleteSession ends the refresh token: ExpiredToken', async () => {
    const other = newAgent(target)
    await other.login({ identifier: did, password: input.password })
    const headers = { authorization: `Bearer ${other.session.refreshJwt}` }
    const ended = await raw('POST', '/xrpc/com.atproto.server.deleteSession', { headers })
    assert.equal(ended.status, 200)
    const again = await raw('POST', '/xrpc/com.atproto.server.refreshSession', { headers })
    assert.ok([400, 401].includes(again.status), `status ${again.status}`)
    assert.ok(['ExpiredToken', 'InvalidToken'].includes(again.json.error), again.json.error)
  })
  await checks.check('rate limits are announced on createSession', async () => {
    const body = JSON.stringify({ identifier: did, password: input.password })
    const headers = { 'content-type': 'application/json' }
    const answer = await raw('POST', '/xrpc/com.atproto.server.createSession', { headers, body })
    for (const name of ['ratelimit-limit', 'ratelimit-remaining', 'ratelimit-reset', 'ratelimit-policy']) {
      assert.ok(answer.headers.get(name), `${name} is missing`)
    }
    assert.ok(Number(answer.headers.get('ratelimit-remaining')) < Number(answer.headers.get('ratelimit-limit')))
  })
  await checks.check('too many wrong passwords are stopped: 429 RateLimitExceeded', async () => {
    const victim = await newAccount(target)
    const body = JSON.stringify({ identifier: victim.did, password: 'wrong' })
    const headers = { 'content-type': 'application/json' }
    for (let attempt = 1; attempt <= 100; attempt++) {
      const { status, json } = await raw('POST', '/xrpc/com.atproto.server.createSession', { headers, body })
      if (status === 401) continue
      assert.deepEqual([status, json.error], [429, 'RateLimitExceeded'])
      return
    }
    assert.fail('a hundred wrong passwords in a row were answered')
  })
  return account
}

/** What clients and their tests look for in the words of a refusal, beside its name. */
async function words(checks, { agent, did, handle, input }) {
  const anonymous = newAgent(target)
  const told = async (promise, names, statuses, text) => {
    const { message } = await refused(promise, names, statuses)
    assert.ok(message.includes(text), `"${message}" does not say "${text}"`)
  }
  await checks.check('no session: Authentication Required', async () => {
    await told(anonymous.com.atproto.server.getSession(), 'AuthMissing', 401, 'Authentication Required')
  })
  await checks.check('what is for the operator is refused to others as a missing password is', async () => {
    for (const headers of [{}, bearer(agent), { authorization: `Basic ${btoa('admin:wrong')}` }]) {
      const attempt = anonymous.com.atproto.admin.deleteAccount({ did }, { headers, encoding: 'application/json' })
      await told(attempt, 'AuthenticationRequired', 401, 'Authentication Required')
    }
  })
  await checks.check('a wrong password and a session that was ended are told so', async () => {
    const wrong = anonymous.login({ identifier: handle, password: 'wrong' })
    await told(wrong, 'AuthenticationRequired', 401, 'Invalid identifier or password')
    const other = newAgent(target)
    await other.login({ identifier: did, password: input.password })
    const headers = { authorization: `Bearer ${other.session.refreshJwt}` }
    await anonymous.com.atproto.server.deleteSession(undefined, { headers })
    const again = anonymous.com.atproto.server.refreshSession(undefined, { headers })
    await told(again, 'ExpiredToken', 400, 'Token has been revoked')
  })
  await checks.check('names and addresses that are taken, or unfit are told apart', async () => {
    const attempt = async (more) => newAgent(target).createAccount({ ...(await accountInput(target)), ...more })
    const short = { handle: `a${target.handleDomain}` }
    const long = { handle: `${'a'.repeat(30)}${target.handleDomain}` }
    const shout = input.email.toUpperCase()
    await told(attempt({ handle: 'under_score.test' }), ['InvalidHandle', 'InvalidRequest'], 400, 'Invalid handle')
    await told(attempt(short), 'InvalidHandle', 400, 'Handle too short')
    await told(attempt(long), 'InvalidHandle', 400, 'Handle too long')
    await told(attempt({ handle: `about${target.handleDomain}` }), 'HandleNotAvailable', 400, 'Reserved handle')
    await told(attempt({ handle: 'a.elsewhere.org' }), 'UnsupportedDomain', 400, 'Not a supported handle domain')
    await told(attempt({ email: shout }), 'InvalidRequest', 400, `Email already taken: ${shout}`)
    await told(attempt({ email: 'nobody' }), 'InvalidRequest', 400, 'This email address is not supported')
  })
  await checks.check('a wrong body does not come back as a whole', async () => {
    const headers = { ...bearer(agent), 'content-type': 'application/json' }
    const path = '/xrpc/com.atproto.server.createAppPassword'
    const wrong = await raw('POST', path, { headers, body: JSON.stringify(['x'.repeat(100_000)]) })
    assert.equal(wrong.status, 400)
    assert.ok(wrong.text.length < 10_000, `${wrong.text.length} bytes of answer`)
  })
}

async function compression(checks, { agent, did }) {
  const encodingOf = (path, accept) =>
    new Promise((resolve, reject) => {
      const headers = { ...bearer(agent), ...(accept ? { 'accept-encoding': accept } : {}) }
      http.get(`${target.url}${path}`, { headers }, (answer) => {
        answer.resume().on('end', () => resolve(answer.headers['content-encoding']))
      }).on('error', reject)
    })
  await checks.check('large answers are compressed for whoever asks, small ones are not', async () => {
    const texts = Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`k${i}`, crypto.randomBytes(16).toString('hex')]))
    const { data } = await agent.com.atproto.repo.createRecord({ repo: did, collection: NOTE, record: note('large', texts) })
    const query = new URLSearchParams({ repo: did, collection: NOTE, rkey: data.uri.split('/').pop() })
    const record = `/xrpc/com.atproto.repo.getRecord?${query}`
    assert.equal(await encodingOf(record, 'gzip'), 'gzip')
    assert.equal(await encodingOf(`/xrpc/com.atproto.sync.getRepo?did=${did}`, 'gzip'), 'gzip')
    assert.equal(await encodingOf(record), undefined)
    assert.equal(await encodingOf('/xrpc/_health', 'gzip'), undefined)
  })
}

async function appPasswords(checks, { agent, did }) {
  const api = agent.com.atproto.server
  const created = await checks.check('createAppPassword answers with a password', async () => {
    const { data } = await api.createAppPassword({ name: 'reader' })
    assert.equal(data.name, 'reader')
    assert.ok(data.password.length >= 16, 'short password')
    return data
  })
  await checks.check('listAppPasswords shows the name and never the password', async () => {
    const { data } = await api.listAppPasswords()
    assert.deepEqual(data.passwords.map((entry) => entry.name), ['reader'])
    assert.ok(!JSON.stringify(data).includes(created.password))
  })
  await checks.check('a second app password of the same name is refused', async () => {
    notTheReference('answers InternalServerError')
    await refused(api.createAppPassword({ name: 'reader' }), ['InvalidRequest', 'DuplicateCreate'], 400)
  })
  const limited = newAgent(target)
  await checks.check('an app password signs in and writes', async () => {
    await limited.login({ identifier: did, password: created.password })
    await limited.com.atproto.repo.createRecord({ repo: did, collection: NOTE, record: note('by app password') })
  })
  await checks.check('an app password cannot make app passwords or end the account', async () => {
    const names = ['InvalidToken', 'AuthenticationRequired', 'Forbidden', 'AuthForbidden', 'InsufficientScope']
    await refused(limited.com.atproto.server.createAppPassword({ name: 'more' }), names)
    await refused(limited.com.atproto.server.deactivateAccount({}), names)
  })
  await checks.check('it looks at the account, and reaches no private conversation', async () => {
    assert.equal((await limited.com.atproto.server.checkAccountStatus()).data.activated, true)
    const headers = bearer(limited)
    const { status, json } = await raw('GET', '/xrpc/chat.bsky.convo.listConvos', { headers })
    assert.deepEqual([status, json.error, json.message], [400, 'InvalidToken', 'Bad token method'])
    const token = limited.com.atproto.server.getServiceAuth({ aud: 'did:web:a.example', lxm: 'chat.bsky.convo.getLog' })
    const { message } = await refused(token, 'InvalidRequest', 400)
    assert.match(message, /insufficient access to request a service auth token/)
  })
  await checks.check('revokeAppPassword ends sign-in with it', async () => {
    await api.revokeAppPassword({ name: 'reader' })
    const login = newAgent(target).login({ identifier: did, password: created.password })
    await refused(login, 'AuthenticationRequired', 401)
    assert.deepEqual((await api.listAppPasswords()).data.passwords, [])
  })
}

async function records(checks, { agent, did, handle }) {
  const repo = agent.com.atproto.repo
  const get = (collection, rkey, more) => repo.getRecord({ repo: did, collection, rkey, ...more })
  const created = await checks.check('createRecord answers with URI, CID and commit', async () => {
    const { data } = await repo.createRecord({ repo: did, collection: POST, record: post('one') })
    const [, , authority, collection, rkey] = data.uri.split('/')
    assert.deepEqual([authority, collection], [did, POST])
    assert.match(rkey, TID)
    assert.match(data.cid, /^bafyrei/)
    assert.match(data.commit.cid, /^bafyrei/)
    assert.match(data.commit.rev, TID)
    assert.ok(['valid', 'unknown'].includes(data.validationStatus), data.validationStatus)
    return { ...data, rkey }
  })
  await checks.check('the client’s own post() does the same', async () => {
    const { uri } = await agent.post({ text: 'by post()', createdAt: now() })
    assert.ok(uri.startsWith(`at://${did}/${POST}/`))
  })
  await checks.check('getRecord by DID and by handle gives what was written', async () => {
    for (const name of [did, handle]) {
      const { data } = await repo.getRecord({ repo: name, collection: POST, rkey: created.rkey })
      assert.deepEqual([data.uri, data.cid, data.value.text], [created.uri, created.cid, 'one'])
    }
  })
  await checks.check('getRecord of a CID that is not the record’s is refused: RecordNotFound', async () => {
    assert.equal((await get(POST, created.rkey, { cid: created.cid })).data.cid, created.cid)
    await refused(get(POST, created.rkey, { cid: ABSENT_CID }), 'RecordNotFound', 400)
  })
  await checks.check('getRecord of what is not there is refused: RecordNotFound', async () => {
    await refused(get(POST, '3aaaaaaaaaaaa'), 'RecordNotFound', 400)
  })
  await checks.check('a record comes back value for value: links, bytes, nesting, Unicode, large integers', async () => {
    const record = note('Zoë 🐈‍⬛ \u0000', {
      link: { $link: created.cid },
      bytes: { $bytes: Buffer.from([0, 255, 1]).toString('base64').replace(/=+$/, '') },
      big: Number.MAX_SAFE_INTEGER,
      negative: -1,
      nothing: null,
      yes: true,
      list: [1, ['two', { three: 3 }], []],
      empty: {},
    })
    const { uri } = (await raw('POST', '/xrpc/com.atproto.repo.createRecord', asJson(agent, { repo: did, collection: NOTE, record }))).json
    const query = new URLSearchParams({ repo: did, collection: NOTE, rkey: uri.split('/').at(-1) })
    const { json } = await raw('GET', `/xrpc/com.atproto.repo.getRecord?${query}`)
    assert.deepEqual(json.value, record)
  })
  await checks.check('the same content has the same CID wherever it lies', async () => {
    const record = note('same')
    const [one, two] = await Promise.all([1, 2].map(() => repo.createRecord({ repo: did, collection: NOTE, record })))
    assert.equal(one.data.cid, two.data.cid)
    assert.notEqual(one.data.uri, two.data.uri)
  })
  await checks.check('createRecord under a chosen key', async () => {
    const input = { repo: did, collection: NOTE, rkey: 'chosen.key_1~:-', record: note('chosen') }
    assert.equal((await repo.createRecord(input)).data.uri, `at://${did}/${NOTE}/chosen.key_1~:-`)
  })
  await checks.check('putRecord creates, replaces, and does nothing when nothing changes', async () => {
    const put = (text) => repo.putRecord({ repo: did, collection: NOTE, rkey: 'put', record: note(text) })
    const text = async () => (await get(NOTE, 'put')).data.value.text
    const one = await put('first')
    assert.equal(await text(), 'first')
    const two = await put('second')
    assert.notEqual(one.data.cid, two.data.cid)
    assert.ok(two.data.commit.rev > one.data.commit.rev, 'rev does not grow')
    const three = await put('second')
    assert.equal(three.data.cid, two.data.cid)
    assert.equal(await text(), 'second')
    const { data: head } = await agent.com.atproto.sync.getLatestCommit({ did })
    assert.equal(head.rev, two.data.commit.rev, 'an unchanged put made a commit')
  })
  await checks.check('deleteRecord takes the record away, and once more changes nothing', async () => {
    const gone = { repo: did, collection: NOTE, rkey: 'put' }
    await repo.deleteRecord(gone)
    await refused(get(NOTE, 'put'), 'RecordNotFound', 400)
    const { data: before } = await agent.com.atproto.sync.getLatestCommit({ did })
    await repo.deleteRecord(gone)
    const { data: after } = await agent.com.atproto.sync.getLatestCommit({ did })
    assert.equal(after.cid, before.cid)
  })
  await checks.check('applyWrites does several in one commit and answers in order', async () => {
    const writes = [
      { $type: 'com.atproto.repo.applyWrites#create', collection: NOTE, rkey: 'w1', value: note('w1') },
      { $type: 'com.atproto.repo.applyWrites#create', collection: NOTE, value: note('w2') },
      { $type: 'com.atproto.repo.applyWrites#update', collection: NOTE, rkey: 'chosen.key_1~:-', value: note('changed') },
    ]
    const { data } = await repo.applyWrites({ repo: did, writes })
    const kinds = data.results.map((result) => result.$type.split('#')[1])
    assert.deepEqual(kinds, ['createResult', 'createResult', 'updateResult'])
    assert.equal(data.results[0].uri, `at://${did}/${NOTE}/w1`)
    assert.equal((await get(NOTE, 'chosen.key_1~:-')).data.value.text, 'changed')
    const { data: head } = await agent.com.atproto.sync.getLatestCommit({ did })
    assert.equal(head.cid, data.commit.cid, 'not one commit')
    const removal = [{ $type: 'com.atproto.repo.applyWrites#delete', collection: NOTE, rkey: 'w1' }]
    const removed = await repo.applyWrites({ repo: did, writes: removal })
    assert.equal(removed.data.results[0].$type, 'com.atproto.repo.applyWrites#deleteResult')
    await refused(get(NOTE, 'w1'), 'RecordNotFound')
  })
  await checks.check('applyWrites is all or nothing', async () => {
    const before = (await agent.com.atproto.sync.getLatestCommit({ did })).data
    const writes = [
      { $type: 'com.atproto.repo.applyWrites#create', collection: NOTE, rkey: 'half', value: note('half') },
      { $type: 'com.atproto.repo.applyWrites#create', collection: NOTE, rkey: 'not a key', value: note('bad') },
    ]
    const { status } = await raw('POST', '/xrpc/com.atproto.repo.applyWrites', asJson(agent, { repo: did, writes }))
    assert.equal(status, 400)
    await refused(get(NOTE, 'half'), 'RecordNotFound')
    assert.equal((await agent.com.atproto.sync.getLatestCommit({ did })).data.cid, before.cid)
  })
  await checks.check('applyWrites of more than 200 is refused: InvalidRequest', async () => {
    const writes = Array.from({ length: 201 }, (_, index) => ({
      $type: 'com.atproto.repo.applyWrites#create',
      collection: NOTE,
      value: note(`bulk ${index}`),
    }))
    await refused(repo.applyWrites({ repo: did, writes }), 'InvalidRequest', 400)
    await repo.applyWrites({ repo: did, writes: writes.slice(0, 200) })
  })
  await checks.check('writing to somebody else’s repository is refused', async () => {
    const other = await newAccount(target)
    const theft = repo.createRecord({ repo: other.did, collection: NOTE, record: note('theft') })
    await refused(theft, ['InvalidRequest', 'AuthenticationRequired', 'AuthMissing', 'Forbidden'], [400, 401, 403])
    await refused(
      repo.getRecord({ repo: other.did, collection: NOTE, rkey: 'x' }),
      'RecordNotFound',
      400,
    )
  })
  await checks.check('describeRepo tells handle, document and collections', async () => {
    const { data } = await repo.describeRepo({ repo: handle })
    assert.deepEqual([data.did, data.handle, data.handleIsCorrect], [did, handle, true])
    assert.equal(data.didDoc.id, did)
    assert.deepEqual([...data.collections].sort(), [POST, NOTE].sort())
    await refused(repo.describeRepo({ repo: ABSENT_DID }), ['RepoNotFound', 'InvalidRequest'], 400)
  })
}

async function listing(checks, { agent, did }) {
  const repo = agent.com.atproto.repo
  const collection = 'com.example.clients.list'
  const rkeys = Array.from({ length: 25 }, (_, index) => `k${String(index).padStart(2, '0')}`)
  const writes = rkeys.map((rkey) => ({
    $type: 'com.atproto.repo.applyWrites#create',
    collection,
    rkey,
    value: { $type: collection, rkey },
  }))
  await repo.applyWrites({ repo: did, writes })
  const walk = async (params) => {
    const pages = []
    let cursor
    do {
      const { data } = await repo.listRecords({ repo: did, collection, ...params, cursor })
      if (data.records.length > 0) pages.push(data.records.map((record) => record.uri.split('/').at(-1)))
      cursor = data.cursor
      assert.ok(pages.length <= rkeys.length, 'the cursor never ends')
    } while (cursor)
    return pages
  }
  await checks.check('listRecords goes from the newest key to the oldest, page by page', async () => {
    const pages = await walk({ limit: 10 })
    assert.deepEqual(pages.map((page) => page.length), [10, 10, 5])
    assert.deepEqual(pages.flat(), [...rkeys].reverse())
  })
  await checks.check('listRecords with reverse goes from the oldest to the newest', async () => {
    assert.deepEqual((await walk({ limit: 10, reverse: true })).flat(), rkeys)
  })
  await checks.check('listRecords without a limit gives fifty at most, each with URI, CID and value', async () => {
    const { data } = await repo.listRecords({ repo: did, collection })
    assert.equal(data.records.length, 25)
    for (const { uri, cid, value } of data.records) {
      assert.match(cid, /^bafyrei/)
      assert.equal(value.rkey, uri.split('/').at(-1))
    }
    const { data: many } = await repo.listRecords({ repo: did, collection: NOTE })
    assert.equal(many.records.length, 50)
  })
  await checks.check('listRecords of a collection that is empty answers with none', async () => {
    const { data } = await repo.listRecords({ repo: did, collection: 'com.example.clients.none' })
    assert.deepEqual([data.records, data.cursor], [[], undefined])
  })
}

async function swaps(checks, { agent, did }) {
  const repo = agent.com.atproto.repo
  const put = (more) => repo.putRecord({ repo: did, collection: NOTE, rkey: 'swap', record: note(crypto.randomUUID()), ...more })
  const first = await put()
  await checks.check('swapRecord: the right CID is taken, a stale one refused: InvalidSwap', async () => {
    await put({ swapRecord: first.data.cid })
    await refused(put({ swapRecord: first.data.cid }), 'InvalidSwap', 400)
  })
  await checks.check('swapRecord null means that there must be none: InvalidSwap', async () => {
    await refused(put({ swapRecord: null }), 'InvalidSwap', 400)
    const input = { repo: did, collection: NOTE, rkey: 'swap-new', record: note('new'), swapRecord: null }
    await repo.putRecord(input)
  })
  await checks.check('swapCommit on create, put, applyWrites and delete: InvalidSwap when stale', async () => {
    const stale = (await agent.com.atproto.sync.getLatestCommit({ did })).data.cid
    await put({ swapCommit: stale })
    const writes = [{ $type: 'com.atproto.repo.applyWrites#create', collection: NOTE, value: note('x') }]
    const input = { repo: did, collection: NOTE, swapCommit: stale }
    await refused(put({ swapCommit: stale }), 'InvalidSwap', 400)
    await refused(repo.createRecord({ ...input, record: note('x') }), 'InvalidSwap', 400)
    await refused(repo.applyWrites({ repo: did, writes, swapCommit: stale }), 'InvalidSwap', 400)
    await refused(repo.deleteRecord({ ...input, rkey: 'swap' }), 'InvalidSwap', 400)
  })
  await checks.check('deleteRecord with swapRecord: InvalidSwap when stale, done when right', async () => {
    const gone = { repo: did, collection: NOTE, rkey: 'swap' }
    await refused(repo.deleteRecord({ ...gone, swapRecord: first.data.cid }), 'InvalidSwap', 400)
    const { data } = await repo.getRecord(gone)
    await repo.deleteRecord({ ...gone, swapRecord: data.cid })
    await refused(repo.getRecord(gone), 'RecordNotFound')
  })
}

async function validation(checks, { agent, did }) {
  const { collection, valid, invalid } = validated
  const send = async (more, method = 'createRecord') =>
    raw('POST', `/xrpc/com.atproto.repo.${method}`, asJson(agent, { repo: did, collection, ...more }))
  const bad = async (more, method) => {
    const { status, json } = await send(more, method)
    assert.equal(status, 400)
    assert.ok(['InvalidRequest', 'InvalidRecord'].includes(json.error), json.error)
  }
  await checks.check('a record that fits its lexicon is marked valid', async () => {
    assert.equal((await send({ record: valid })).json.validationStatus, 'valid')
    assert.equal((await send({ record: valid, validate: true })).json.validationStatus, 'valid')
  })
  await checks.check('a record that does not fit is refused by createRecord, putRecord and applyWrites', async () => {
    await bad({ record: invalid })
    await bad({ record: invalid, rkey: '3aaaaaaaaaa2a' }, 'putRecord')
    const writes = [{ $type: 'com.atproto.repo.applyWrites#create', collection, value: invalid }]
    await bad({ writes }, 'applyWrites')
  })
  await checks.check('validate: false takes it all the same, and says nothing of validity', async () => {
    const { status, json } = await send({ record: invalid, validate: false })
    assert.equal(status, 200)
    assert.equal(json.validationStatus, undefined)
    await agent.com.atproto.repo.deleteRecord({ repo: did, collection, rkey: json.uri.split('/').at(-1) })
  })
  await checks.check('a lexicon that is not known: unknown, and refused when validation is demanded', async () => {
    assert.equal((await send({ collection: NOTE, record: note('unknown') })).json.validationStatus, 'unknown')
    await bad({ collection: NOTE, record: note('unknown'), validate: true })
  })
  await checks.check('a $type that is not the collection’s is refused', async () => bad({ record: note('other') }))
  await checks.check('a key, a collection or a repository of no form is refused', async () => {
    await bad({ collection: NOTE, record: note('x'), rkey: '..' })
    await bad({ collection: NOTE, record: note('x'), rkey: 'a/b' })
    await bad({ collection: 'not an nsid', record: note('x') })
    await bad({ repo: 'not a did', collection: NOTE, record: note('x') })
  })
  await checks.check('what the data model forbids is refused: fractions, and a link that is no CID', async () => {
    notTheReference('takes both where it does not know the lexicon')
    await bad({ collection: NOTE, record: note('x', { link: { $link: 'not a cid' } }) })
    await bad({ collection: NOTE, record: note('x', { fraction: 1.5 }) })
  })
  await checks.check('a body that is no JSON, no object, or too large is refused', async () => {
    const path = '/xrpc/com.atproto.repo.createRecord'
    const headers = { ...bearer(agent), 'content-type': 'application/json' }
    const broken = await raw('POST', path, { headers, body: '{"repo":' })
    assert.equal(broken.status, 400)
    // The name that the reference host gives is that of its parser's exception.
    if (!target.reference) assert.equal(broken.json?.error, 'InvalidRequest')
    const list = await raw('POST', path, { headers, body: '[]' })
    assert.deepEqual([list.status, list.json?.error], [400, 'InvalidRequest'])
    const text = 'x'.repeat(4 << 20)
    const large = await raw('POST', path, asJson(agent, { repo: did, collection: NOTE, record: note(text) }))
    assert.ok([400, 413].includes(large.status), `status ${large.status}`)
    const names = ['PayloadTooLarge', 'PayloadTooLargeError', 'InvalidRequest', 'RecordTooLarge']
    assert.ok(names.includes(large.json?.error), large.json?.error)
  })
}

async function blobs(checks, { agent, did }) {
  const repo = agent.com.atproto.repo
  const png = Buffer.from(
    'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
    'base64',
  )
  const getBlob = (cid) => `/xrpc/com.atproto.sync.getBlob?${new URLSearchParams({ did, cid })}`
  const uploaded = await checks.check('uploadBlob answers with a blob reference', async () => {
    const { data } = await repo.uploadBlob(png, { encoding: 'image/png' })
    assert.ok(data.blob instanceof BlobRef)
    assert.equal(data.blob.size, png.length)
    assert.equal(data.blob.mimeType, 'image/png')
    assert.match(data.blob.ref.toString(), /^bafkrei/)
    return data.blob
  })
  await checks.check('a blob that no record names is not served', async () => {
    const { status } = await raw('GET', getBlob(uploaded.ref.toString()))
    assert.ok([400, 404].includes(status), `status ${status}`)
  })
  const cid = uploaded?.ref.toString()
  await checks.check('once a record names it, getBlob gives the same bytes', async () => {
    const record = post('picture', { embed: { $type: 'app.bsky.embed.images', images: [{ alt: '', image: uploaded }] } })
    await repo.createRecord({ repo: did, collection: POST, record })
    const response = await fetch(`${target.url}${getBlob(cid)}`)
    assert.equal(response.status, 200)
    assert.deepEqual(Buffer.from(await response.arrayBuffer()), png)
  })
  await checks.check('getBlob answers with headers that keep a browser from running it', async () => {
    const { headers } = await raw('GET', getBlob(cid))
    assert.equal(headers.get('content-type'), 'image/png')
    assert.equal(headers.get('content-length'), String(png.length))
    assert.equal(headers.get('x-content-type-options'), 'nosniff')
    assert.match(headers.get('content-security-policy') ?? '', /default-src 'none'/)
    assert.match(headers.get('content-security-policy') ?? '', /sandbox/)
    assert.match(headers.get('content-disposition') ?? '', /^attachment/)
  })
  await checks.check('the client’s own getBlob does the same', async () => {
    const { data, headers } = await agent.com.atproto.sync.getBlob({ did, cid })
    assert.deepEqual(Buffer.from(data), png)
    assert.equal(headers['content-type'], 'image/png')
  })
  await checks.check('a record that names a blob never uploaded is refused', async () => {
    const absent = { $type: 'blob', ref: { $link: 'bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy' }, mimeType: 'image/png', size: 3 }
    const record = note('absent', { picture: absent })
    const { status, json } = await raw('POST', '/xrpc/com.atproto.repo.createRecord', asJson(agent, { repo: did, collection: NOTE, record }))
    assert.equal(status, 400)
    assert.ok(['BlobNotFound', 'InvalidRequest'].includes(json.error), json.error)
  })
  await checks.check('getBlob of what is not there is refused', async () => {
    const { status, json } = await raw('GET', getBlob('bafkreibme22gw2h7y2h7tg2fhqotaqjucnbc24deqo72b6mkl2egezxhvy'))
    assert.ok([400, 404].includes(status), `status ${status}`)
    assert.ok(['BlobNotFound', 'InvalidRequest'].includes(json.error), json.error)
  })
  await checks.check('a blob of a mebibyte goes up and comes back', async () => {
    const large = crypto.randomBytes(1 << 20)
    const { data } = await repo.uploadBlob(large, { encoding: 'application/octet-stream' })
    await repo.createRecord({ repo: did, collection: NOTE, record: note('large', { file: data.blob }) })
    const response = await fetch(`${target.url}${getBlob(data.blob.ref.toString())}`)
    assert.ok(Buffer.from(await response.arrayBuffer()).equals(large))
  })
  const zipped = (bytes, type) => ({
    headers: { ...bearer(agent), 'content-type': type, 'content-encoding': 'gzip' },
    body: gzipSync(bytes),
  })
  await checks.check('a blob that comes compressed is stored unfolded', async () => {
    const { status, json } = await raw('POST', '/xrpc/com.atproto.repo.uploadBlob', zipped(png, 'image/png'))
    assert.equal(status, 200)
    assert.equal(json.blob.ref.$link, cid)
    assert.equal(json.blob.size, png.length)
  })
  await checks.check('a small body that unfolds to a huge one is refused', async () => {
    const body = Buffer.concat([Buffer.alloc(8 << 20, ' '), Buffer.from('{}')])
    const { status } = await raw('POST', '/xrpc/com.atproto.repo.createRecord', zipped(body, 'application/json'))
    assert.ok([400, 413].includes(status), `status ${status}`)
  })
  await checks.check('uploadBlob without a session is refused', async () => {
    const headers = { 'content-type': 'image/png' }
    const { status } = await raw('POST', '/xrpc/com.atproto.repo.uploadBlob', { headers, body: png })
    assert.equal(status, 401)
  })
  await checks.check('a blob past the announced limit is refused: PayloadTooLarge', async () => {
    const { data: server } = await agent.com.atproto.server.describeServer()
    const limit = server.blobUploadLimit ?? target.blobUploadLimit
    if (!limit) throw new NotApplicable('the host announces no limit')
    const large = repo.uploadBlob(Buffer.alloc(limit + 1), { encoding: 'application/octet-stream' })
    await refused(large, ['PayloadTooLarge', 'BlobTooLarge', 'InvalidRequest'], [400, 413])
  })
  await checks.check('when the last record that names it goes, the blob goes', async () => {
    const { data } = await repo.uploadBlob(Buffer.from('short-lived'), { encoding: 'text/plain' })
    const written = await repo.createRecord({ repo: did, collection: NOTE, record: note('x', { file: data.blob }) })
    const path = getBlob(data.blob.ref.toString())
    assert.equal((await raw('GET', path)).status, 200)
    await repo.deleteRecord({ repo: did, collection: NOTE, rkey: written.data.uri.split('/').at(-1) })
    const listed = await agent.com.atproto.sync.listBlobs({ did })
    assert.ok(!listed.data.cids.includes(data.blob.ref.toString()), 'still listed')
  })
}

async function identity(checks, { agent, did, handle, input }) {
  const api = agent.com.atproto.identity
  await checks.check('resolveHandle finds the account, also in capitals', async () => {
    assert.equal((await newAgent(target).com.atproto.identity.resolveHandle({ handle })).data.did, did)
    const shouted = await newAgent(target).com.atproto.identity.resolveHandle({ handle: handle.toUpperCase() })
    assert.equal(shouted.data.did, did)
  })
  await checks.check('resolveHandle of nobody is refused: HandleNotFound', async () => {
    await refused(api.resolveHandle({ handle: newHandle(target) }), 'HandleNotFound', 400)
  })
  await checks.check('the handle’s own site names the DID: /.well-known/atproto-did', async () => {
    const { request } = await import('node:http')
    const { hostname, port } = new URL(target.url)
    const text = await new Promise((resolve, reject) => {
      const options = { hostname, port, path: '/.well-known/atproto-did', headers: { host: handle } }
      const call = request(options, async (response) => resolve((await response.toArray()).join('')))
      call.on('error', reject).end()
    })
    assert.equal(text.trim(), did)
  })
  await checks.check('updateHandle moves the name: new one resolves, old one does not, document follows', async () => {
    const renamed = newHandle(target, 'renamed')
    await api.updateHandle({ handle: renamed })
    assert.equal((await api.resolveHandle({ handle: renamed })).data.did, did)
    await refused(api.resolveHandle({ handle }), 'HandleNotFound', 400)
    const data = await newResolver(target).did.resolveAtprotoData(did, true)
    assert.equal(data.handle, renamed)
    const { data: session } = await agent.com.atproto.server.getSession()
    assert.equal(session.handle, renamed)
    await newAgent(target).login({ identifier: renamed, password: input.password })
  })
  await checks.check('updateHandle to a taken or a malformed name is refused', async () => {
    const other = await newAccount(target)
    await refused(api.updateHandle({ handle: other.handle }), ['HandleNotAvailable', 'InvalidRequest'], 400)
    await refused(api.updateHandle({ handle: `-bad-${target.handleDomain}` }), ['InvalidHandle', 'InvalidRequest'], 400)
  })
  await checks.check('getRecommendedDidCredentials names keys, handle and host', async () => {
    const { data } = await api.getRecommendedDidCredentials()
    assert.ok(data.rotationKeys.length > 0)
    assert.match(data.verificationMethods.atproto, /^did:key:z/)
    assert.equal(data.services.atproto_pds.type, 'AtprotoPersonalDataServer')
    assert.match(data.alsoKnownAs[0], /^at:\/\/renamed/)
  })
}

async function serviceAuth(checks, { agent, did }) {
  const api = agent.com.atproto.server
  const aud = 'did:web:service.example'
  const lxm = 'com.example.clients.method'
  await checks.check('getServiceAuth signs a token with the account’s key', async () => {
    const { data } = await api.getServiceAuth({ aud, lxm })
    const [head, payload, signature] = data.token.split('.')
    const header = JSON.parse(Buffer.from(head, 'base64url').toString('utf8'))
    const body = claims(data.token)
    assert.deepEqual([body.iss, body.aud, body.lxm], [did, aud, lxm])
    assert.ok(['ES256K', 'ES256'].includes(header.alg), header.alg)
    assert.ok(body.exp > Date.now() / 1000 && body.exp <= Date.now() / 1000 + 3600)
    const key = await newResolver(target).did.resolveAtprotoKey(did)
    const signed = new TextEncoder().encode(`${head}.${payload}`)
    assert.ok(await verifySignature(key, signed, Buffer.from(signature, 'base64url')), 'signature does not verify')
  })
  await checks.check('getServiceAuth for whom the network cannot find is refused: InvalidRequest', async () => {
    for (const aud of ['nobody', 'did:foo:bar', 'did:plc:short', 'did:web:a.example#', 'did:web:a.example#b#c']) {
      const { message } = await refused(agent.com.atproto.server.getServiceAuth({ aud }), 'InvalidRequest', 400)
      assert.match(message, /aud must be a valid atproto DID or did#serviceId reference/, aud)
    }
    const aud = 'did:web:a.example#some_service'
    const { data } = await agent.com.atproto.server.getServiceAuth({ aud })
    assert.equal(claims(data.token).aud, aud)
  })
  await checks.check('getServiceAuth for the past, or for too long, is refused: BadExpiration', async () => {
    const seconds = Math.floor(Date.now() / 1000)
    await refused(api.getServiceAuth({ aud, lxm, exp: seconds - 60 }), 'BadExpiration', 400)
    await refused(api.getServiceAuth({ aud, lxm, exp: seconds + 2 * 3600 }), 'BadExpiration', 400)
    await refused(api.getServiceAuth({ aud, exp: seconds + 600 }), 'BadExpiration', 400)
  })
}

async function leaving(checks, { agent, did, input }) {
  const api = agent.com.atproto.server
  const status = async () => (await api.checkAccountStatus()).data
  await checks.check('checkAccountStatus counts what is there', async () => {
    const data = await status()
    const { data: head } = await agent.com.atproto.sync.getLatestCommit({ did })
    assert.deepEqual([data.activated, data.validDid], [true, true])
    assert.deepEqual([data.repoCommit, data.repoRev], [head.cid, head.rev])
    assert.ok(data.repoBlocks > 0 && data.indexedRecords > 0)
    assert.equal(data.expectedBlobs, data.importedBlobs)
    assert.ok(data.importedBlobs >= 2, `${data.importedBlobs} blobs`)
  })
  await checks.check('a deactivated account answers nobody and takes no writes', async () => {
    await api.deactivateAccount({})
    assert.equal((await status()).activated, false)
    await refused(newAgent(target).com.atproto.sync.getLatestCommit({ did }), 'RepoDeactivated', 400)
    await refused(newAgent(target).com.atproto.sync.getRepo({ did }), 'RepoDeactivated', 400)
    const { data } = await agent.com.atproto.sync.getRepoStatus({ did })
    assert.deepEqual([data.active, data.status], [false, 'deactivated'])
    const write = agent.com.atproto.repo.createRecord({ repo: did, collection: NOTE, record: note('no') })
    await refused(write, ['AccountDeactivated', 'RepoDeactivated', 'InvalidRequest', 'AuthenticationRequired'])
  })
  await checks.check('its owner still signs in, and is told', async () => {
    const { data } = await newAgent(target).login({ identifier: did, password: input.password })
    assert.deepEqual([data.active, data.status], [false, 'deactivated'])
  })
  await checks.check('activateAccount brings it back', async () => {
    await api.activateAccount()
    assert.equal((await status()).activated, true)
    await agent.com.atproto.repo.createRecord({ repo: did, collection: NOTE, record: note('back') })
    assert.equal((await agent.com.atproto.sync.getRepoStatus({ did })).data.active, true)
  })
  await checks.check('deleteAccount needs the mailed code and the password, and leaves nothing', async () => {
    const codes = new ConfirmationCodes(target)
    if (!codes.available) throw new NotApplicable('TARGET has neither mailUrl nor tokenCommand')
    const doomed = await newAccount(target)
    const { did: gone, input: secret } = doomed
    await doomed.agent.com.atproto.repo.createRecord({ repo: gone, collection: NOTE, record: note('doomed') })
    await doomed.agent.com.atproto.server.requestAccountDelete()
    const token = await codes.next({ did: gone, email: secret.email, purpose: 'delete_account' })
    const erase = (more) => doomed.agent.com.atproto.server.deleteAccount({ did: gone, password: secret.password, token, ...more })
    await refused(erase({ token: 'AAAAA-AAAAA' }), ['InvalidToken', 'ExpiredToken'], 400)
    await refused(erase({ password: 'wrong' }), 'AuthenticationRequired', 401)
    await erase()
    await refused(newAgent(target).com.atproto.sync.getLatestCommit({ did: gone }), ['RepoNotFound', 'RepoDeleted'], 400)
    await refused(newAgent(target).login({ identifier: gone, password: secret.password }), 'AuthenticationRequired', 401)
  })
}

/** The mail with a code, where the mailbox can be read. */
async function mails(checks) {
  await checks.check('a code stands alone in the mail’s page, and works in small letters', async () => {
    if (!target.mailUrl) throw new NotApplicable('TARGET has no mailUrl')
    const { agent, did, input } = await newAccount(target)
    const server = agent.com.atproto.server
    await server.requestPasswordReset({ email: input.email })
    const response = await fetch(`${target.mailUrl}/next?to=${encodeURIComponent(input.email)}`)
    const mail = await response.json()
    assert.match(mail.text, new RegExp(`>${mail.token}<`))
    assert.ok(mail.text.includes('Reset password'), 'the page says what it is for')
    const { message } = await refused(server.resetPassword({ token: 'AAAAA-AAAAA', password: 'new' }), 'InvalidToken', 400)
    assert.match(message, /Token is invalid/)
    await server.resetPassword({ token: mail.token.toLowerCase(), password: 'another one' })
    await newAgent(target).login({ identifier: did, password: 'another one' })
  })
}

/** What the operator decides, and what is left to those whom it concerns. */
async function decisions(checks) {
  const admin = { headers: adminHeaders(target), encoding: 'application/json' }
  const api = new AtpAgent({ service: target.url }).com.atproto
  const { agent, did, input } = await newAccount(target)
  const subject = { $type: 'com.atproto.admin.defs#repoRef', did }
  const decide = (more) => api.admin.updateSubjectStatus({ subject, ...more }, admin)
  await checks.check('a record that was taken down is hidden, and the operator still sees what was decided', async () => {
    const { data: made } = await agent.com.atproto.repo.createRecord({ repo: did, collection: NOTE, record: note('hidden') })
    const record = { $type: 'com.atproto.repo.strongRef', uri: made.uri, cid: made.cid }
    const status = async () => (await api.admin.getSubjectStatus({ uri: made.uri }, { headers: admin.headers })).data
    const get = () => api.repo.getRecord({ repo: did, collection: NOTE, rkey: made.uri.split('/').pop() })
    await api.admin.updateSubjectStatus({ subject: record, takedown: { applied: true } }, admin)
    await refused(get(), ['RecordNotFound', 'InvalidRequest', 'UpstreamFailure'])
    const hidden = await status()
    assert.deepEqual([hidden.subject.cid, hidden.takedown.applied], [made.cid, true])
    assert.equal(typeof hidden.takedown.ref, 'string')
    await api.admin.updateSubjectStatus({ subject: record, takedown: { applied: false } }, admin)
    assert.equal((await status()).takedown.applied, false)
    await get()
  })
  await checks.check('an account is not taken down and switched on in one breath, nor switched on while down', async () => {
    const both = decide({ takedown: { applied: true }, deactivated: { applied: false } })
    const { message } = await refused(both, 'InvalidRequest', 400)
    assert.equal(message, 'Cannot activate and takedown an account at the same time')
    await decide({ takedown: { applied: true } })
    await refused(decide({ deactivated: { applied: false } }), 'AccountNotFound', 400)
    await decide({ deactivated: { applied: true } })
    const { data } = await api.admin.getSubjectStatus({ did }, { headers: admin.headers })
    assert.equal(typeof data.takedown.ref, 'string')
    assert.deepEqual([data.takedown.applied, data.deactivated.applied], [true, true])
  })
  await checks.check('the owner of what was taken down gets a session that writes nothing: InvalidToken', async () => {
    const session = await api.server.createSession({ identifier: did, password: input.password, allowTakendown: true })
    assert.equal(claims(session.data.accessJwt).scope, 'com.atproto.takendown')
    const options = { headers: { authorization: `Bearer ${session.data.accessJwt}` }, encoding: 'application/json' }
    const write = api.repo.createRecord({ repo: did, collection: NOTE, record: note('no') }, options)
    const { message } = await refused(write, 'InvalidToken', 400)
    assert.match(message, /Bad token scope/)
  })
  await checks.check('codes are made for whoever will come, and nobody comes by those of an account that is down', async () => {
    const forAccounts = ['did:web:one.example', 'did:web:two.example']
    const made = await api.server.createInviteCodes({ codeCount: 2, useCount: 1, forAccounts }, admin)
    assert.deepEqual(made.data.codes.map(({ account, codes }) => [account, codes.length]), forAccounts.map((who) => [who, 2]))
    const { data } = await api.server.createInviteCode({ useCount: 1, forAccount: did }, admin)
    const come = async () => newAgent(target).createAccount({ ...(await accountInput(target)), inviteCode: data.code })
    if (!(await api.server.describeServer()).data.inviteCodeRequired) notTheReference('looks at no code that it does not ask for')
    await refused(come(), 'InvalidInviteCode', 400)
    await decide({ takedown: { applied: false } })
    await come()
  })
  await checks.check('not all codes of the operator are switched off at once', async () => {
    const { message } = await refused(api.admin.disableInviteCodes({ accounts: ['admin'] }, admin), 'InvalidRequest', 400)
    assert.match(message, /cannot disable admin invite codes/)
  })
}

async function administration(checks, { agent, did, input }) {
  const admin = { headers: adminHeaders(target), encoding: 'application/json' }
  const subject = { $type: 'com.atproto.admin.defs#repoRef', did }
  const api = new AtpAgent({ service: target.url }).com.atproto.admin
  const takedown = (applied) => api.updateSubjectStatus({ subject, takedown: { applied, ref: 'test' } }, admin)
  await checks.check('the administration refuses a wrong password', async () => {
    const headers = { authorization: `Basic ${Buffer.from('admin:wrong').toString('base64')}` }
    await refused(api.getAccountInfo({ did }, { headers }), ['AuthenticationRequired', 'AuthMissing', 'BadAuth'], 401)
  })
  await checks.check('a taken-down account is refused by name, to its owner too', async () => {
    await takedown(true)
    await refused(newAgent(target).com.atproto.sync.getLatestCommit({ did }), 'RepoTakendown', 400)
    await refused(newAgent(target).login({ identifier: did, password: input.password }), 'AccountTakedown', 401)
    const { data } = await newAgent(target).com.atproto.sync.getRepoStatus({ did })
    assert.deepEqual([data.active, data.status], [false, 'takendown'])
    const write = agent.com.atproto.repo.createRecord({ repo: did, collection: NOTE, record: note('no') })
    await refused(write, ['AccountTakedown', 'RepoTakendown', 'InvalidToken', 'AuthenticationRequired', 'InvalidRequest'])
    await takedown(false)
    await newAgent(target).com.atproto.sync.getLatestCommit({ did })
    await newAgent(target).login({ identifier: did, password: input.password })
  })
}

await scenario(async (checks) => {
  await server(checks)
  const account = await accounts(checks)
  if (!account) return
  await words(checks, account)
  await appPasswords(checks, account)
  await records(checks, account)
  await compression(checks, account)
  await listing(checks, account)
  await swaps(checks, account)
  await validation(checks, account)
  await blobs(checks, account)
  await identity(checks, account)
  await serviceAuth(checks, account)
  await leaving(checks, account)
  await administration(checks, account)
  await mails(checks)
  await decisions(checks)
})
