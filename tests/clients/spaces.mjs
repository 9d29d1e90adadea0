// A business talks with people of three hosts: its own node, a neighbour, and the reference host.
//
//   scripts/clients spaces HOME NEIGHBOUR [REFERENCE]
//
// HOME says which: what `angel tenant create --json` printed there is its field "business".
//
// All of them must use the same directory. Nothing here is of our own making but the names of the methods: accounts and
// calls go through @atproto/api, the live stream through a plain WebSocket.
import { setTimeout as pause } from 'node:timers/promises'
import WebSocket from 'ws'
import { assert, refused, scenario } from './lib/checks.mjs'
import { newAccount, newAgent, readTarget } from './lib/target.mjs'

const [home, neighbour] = [readTarget(process.argv[2]), readTarget(process.argv[3])]
const reference = process.argv[4] ? readTarget(process.argv[4]) : undefined
const { tenant, owner } = home.business ?? {}
if (!tenant || !owner) throw new Error('HOME lacks "business": what `angel tenant create --json` printed')
const MESSAGE = 'co.kendev.spaces.message'
const PATIENCE = 15_000

/** Calls a method of ours: the agent signs in, and any token given takes its place. */
async function call(agent, method, { query, body, token } = {}) {
  const search = query ? `?${new URLSearchParams(query)}` : ''
  const path = `/xrpc/co.kendev.spaces.${method}${search}`
  const init = body ? { method: 'POST', body: JSON.stringify(body), headers: { 'content-type': 'application/json' } } : {}
  if (token) init.headers = { ...init.headers, authorization: `Bearer ${token}` }
  const response = token ? await fetch(home.url + path, init) : await agent.fetchHandler(path, init)
  const answer = await response.json()
  if (!response.ok) throw Object.assign(new Error(answer.message), { status: response.status, error: answer.error })
  return answer
}

/** A token by which an account of another host speaks to the home node. */
async function speaks(account, method) {
  const { data: server } = await newAgent(home).com.atproto.server.describeServer()
  const lxm = `co.kendev.spaces.${method}`
  const { data } = await account.agent.com.atproto.server.getServiceAuth({ aud: server.did, lxm })
  return data.token
}

const elsewhere = async (account, method, options) =>
  call(account.agent, method, { ...options, token: await speaks(account, method) })

/** Writes a message into one's own repository, as any client can. */
async function write(account, space, text) {
  const record = {
    $type: MESSAGE, space, messageType: 'user', content: { type: 'text', text }, createdAt: new Date().toISOString(),
  }
  const { data } = await account.agent.com.atproto.repo.createRecord({ repo: account.did, collection: MESSAGE, record })
  return data.uri
}

/** The live stream of a space in JSON. */
class Live {
  #told = []
  #waiting = []

  static async open(space, account) {
    const live = new Live()
    const url = new URL('/xrpc/co.kendev.spaces.subscribeSpace', home.url.replace('http', 'ws'))
    url.search = new URLSearchParams({ space, format: 'json' })
    const token = account?.home ? account.agent.session.accessJwt : account?.token
    live.socket = new WebSocket(url, token ? { headers: { authorization: `Bearer ${token}` } } : {})
    live.socket.on('message', (data) => {
      const told = JSON.parse(data)
      const waiting = live.#waiting.findIndex(({ wanted }) => wanted(told))
      if (waiting >= 0) live.#waiting.splice(waiting, 1)[0].resolve(told)
      else live.#told.push(told)
    })
    await new Promise((resolve, reject) => live.socket.once('open', resolve).once('error', reject))
    return live
  }

  /** The first thing told that is wanted, now or soon. */
  async next(wanted) {
    const known = this.#told.findIndex(wanted)
    if (known >= 0) return this.#told.splice(known, 1)[0]
    const told = new Promise((resolve) => this.#waiting.push({ wanted, resolve }))
    const late = pause(PATIENCE).then(() => assert.fail('nothing of the kind was told'))
    return Promise.race([told, late])
  }

  says = (text) => this.next((told) => told.value?.content?.text === text)
}

await scenario(async (checks) => {
  const { check } = { check: checks.check.bind(checks) }
  const ada = { agent: newAgent(home), did: owner.did, home: true }
  await ada.agent.login({ identifier: owner.handle, password: owner.password })
  const bob = await newAccount(neighbour)
  const carol = reference && (await newAccount(reference))
  const stranger = newAgent(home)

  const open = await check('the business has a public space from its template', async () => {
    const { spaces } = await call(stranger, 'listSpaces', { query: { tenant: tenant.did } })
    assert.equal(spaces.length, 1)
    assert.equal(spaces[0].value.visibility, 'public')
    return spaces[0].uri
  })
  const closed = await check('its owner opens one that is private', async () => {
    const record = {
      name: 'Back office', slug: 'back-office', visibility: 'private', memberApproval: 'automatic',
      businessIdentity: { type: 'service', industry: 'general' },
    }
    return (await call(ada.agent, 'createSpace', { body: { tenant: tenant.did, record } })).uri
  })

  await check('any AT Protocol client reads the public space as a record', async () => {
    const [, , repo, collection, rkey] = open.split('/')
    const { data } = await stranger.com.atproto.repo.getRecord({ repo, collection, rkey })
    assert.equal(data.value.tenant, tenant.did)
  })
  await check('somebody on another node joins by invitation', async () => {
    const invited = await call(ada.agent, 'inviteMember', { body: { space: open, user: bob.did } })
    const joined = await elsewhere(bob, 'joinSpace', { body: { space: open, token: invited.token } })
    assert.deepEqual(joined, { status: 'active', role: 'member' })
  })
  if (carol) {
    await check('somebody on the reference host joins by asking', async () => {
      assert.equal((await elsewhere(carol, 'joinSpace', { body: { space: open } })).status, 'active')
    })
  }

  const watching = await Live.open(open)
  await check('they talk, and whoever follows hears it within a second', async () => {
    await call(ada.agent, 'sendMessage', { body: { space: open, content: { type: 'text', text: 'Who is there?' } } })
    await watching.says('Who is there?')
    for (const [who, text] of [[bob, 'Bob, from next door.'], ...(carol ? [[carol, 'Carol, from far away.']] : [])]) {
      // Their host has just become known: the first message may wait for the connection.
      await write(who, open, `${text} Hello!`)
      await watching.says(`${text} Hello!`)
      const began = performance.now()
      await write(who, open, text)
      const told = await watching.says(text)
      const took = performance.now() - began
      console.log(`      ${text} seen after ${took.toFixed(0)} ms`)
      assert.equal(told.author, who.did)
      assert.ok(took < 1000, `${took} ms`)
    }
  })
  await check('the space lists what was said, whoever said it', async () => {
    const { messages } = await call(stranger, 'listMessages', { query: { space: open } })
    const authors = new Set(messages.map(({ sender }) => sender))
    assert.equal(authors.size, carol ? 3 : 2)
    const { messages: found } = await call(stranger, 'searchMessages', { query: { space: open, q: 'next door' } })
    assert.ok(found.every(({ sender }) => sender === bob.did) && found.length > 0)
  })

  await check('people of both nodes talk live in the private space', async () => {
    const invited = await call(ada.agent, 'inviteMember', { body: { space: closed, user: bob.did } })
    await elsewhere(bob, 'joinSpace', { body: { space: closed, token: invited.token } })
    const adas = await Live.open(closed, ada)
    const bobs = await Live.open(closed, { token: await speaks(bob, 'subscribeSpace') })
    await call(ada.agent, 'sendMessage', { body: { space: closed, content: { type: 'text', text: 'Margins: 12 %' } } })
    await Promise.all([adas.says('Margins: 12 %'), bobs.says('Margins: 12 %')])
    // Bob writes at home: into a permissioned repository of his own.
    await call(bob.agent, 'sendMessage', { body: { space: closed, content: { type: 'text', text: 'Rent: 900' } } })
    const told = await Promise.all([adas.says('Rent: 900'), bobs.says('Rent: 900')])
    assert.ok(told.every(({ author }) => author === bob.did))
    const { messages } = await elsewhere(bob, 'listMessages', { query: { space: closed } })
    assert.deepEqual(messages.map(({ sender }) => sender), [bob.did, ada.did])
  })
  await check('a stranger is told of it what they are told of nothing', async () => {
    const nowhere = closed.replace(/[^/]+$/, '3kznmn7xqxl22')
    const told = await Promise.all(
      [closed, nowhere].map((space) => refused(call(stranger, 'getSpace', { query: { space } }), 'SpaceNotFound')),
    )
    assert.equal(told[0].message, told[1].message)
    if (carol) await refused(elsewhere(carol, 'joinSpace', { body: { space: closed } }), 'SpaceNotFound')
    const { spaces } = await call(stranger, 'listSpaces')
    assert.ok(spaces.every(({ uri }) => uri !== closed) && spaces.some(({ uri }) => uri === open))
  })
  await check('nothing of it is in a public repository', async () => {
    const people = [[tenant.did, stranger], [ada.did, stranger], [bob.did, bob.agent]]
    for (const [did, agent] of people) {
      const car = Buffer.from((await agent.com.atproto.sync.getRepo({ did })).data)
      assert.ok(['Margins', 'Rent: 900', 'back-office'].every((secret) => !car.includes(secret)), did)
    }
  })
  await check('whoever is banned is heard no more', async () => {
    await call(ada.agent, 'banMember', { body: { space: open, user: bob.did } })
    await write(bob, open, 'Let me in!')
    await call(ada.agent, 'sendMessage', { body: { space: open, content: { type: 'text', text: 'Closing time.' } } })
    await watching.says('Closing time.')
    await pause(1000)
    const { messages } = await call(stranger, 'listMessages', { query: { space: open } })
    assert.equal(messages[0].value.content.text, 'Closing time.')
  })
})
