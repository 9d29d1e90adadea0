// A tenant whose machine dies, as its clients see it: one writes without pause, one follows the event stream, and the
// primary is killed under their hands.
//
//   scripts/clients failover PLAN
//
// PLAN is JSON: {"nodes": [{"url", "pid"}, …], "did", "password", "kill": 0, "writes": 200}. It kills that node itself, so
// that what it counts is exact. The last line that it prints is JSON.
import { setTimeout as pause } from 'node:timers/promises'
import { AtpAgent } from '@atproto/api'
import { Firehose } from '@atproto/sync'
import { newResolver } from './lib/target.mjs'

const plan = JSON.parse(process.argv[2])
const COLLECTION = 'com.example.note'
const LIMIT_MS = 180_000
const said = (text) => console.error(text)
const living = plan.nodes.filter((_, index) => index !== plan.kill)
const resolver = newResolver({ plcUrl: `${living[0].url}/plc` })

/** Follows one host until it is gone; what it tells is verified by the official consumer. */
function follow(url) {
  const seen = { url, commits: new Set(), kinds: [], sequences: [], errors: [] }
  const firehose = new Firehose({
    idResolver: resolver,
    service: url.replace(/^http/, 'ws'),
    unauthenticatedHandles: true,
    getCursor: () => undefined,
    handleEvent: (event) => {
      if (event.did !== plan.did) return
      seen.sequences.push(event.seq)
      seen.kinds.push(event.event)
      if (event.rkey) seen.commits.add(event.rkey)
    },
    onError: (error) => seen.errors.push(String(error?.message ?? error)),
  })
  firehose.start().catch((error) => seen.errors.push(String(error)))
  return { seen, stop: () => firehose.destroy() }
}

async function login(url) {
  const agent = new AtpAgent({ service: url })
  await agent.login({ identifier: plan.did, password: plan.password })
  return agent
}

async function write(agent, rkey) {
  await agent.com.atproto.repo.createRecord(
    { repo: plan.did, collection: COLLECTION, rkey, record: { $type: COLLECTION, text: `note ${rkey}` } },
    { signal: AbortSignal.timeout(10_000) },
  )
}

async function host() {
  const response = await fetch(`${living[0].url}/plc/${plan.did}`)
  const document = await response.json()
  return document.service?.[0]?.serviceEndpoint
}

const acknowledged = []
const reader = follow(plan.nodes[plan.kill].url)
// Whoever is to take over is followed from before it does.
const others = living.map(({ url }) => follow(url))
let agent = await login(plan.nodes[plan.kill].url)
for (let number = 0; acknowledged.length < plan.writes; number += 1) {
  const rkey = `a-${number}`
  await write(agent, rkey)
  acknowledged.push(rkey)
}
const before = await host()
said(`${acknowledged.length} writes are acknowledged at ${before}; SIGKILL now`)
const killed = Date.now()
process.kill(plan.nodes[plan.kill].pid, 'SIGKILL')

let at
for (let number = 0; Date.now() - killed < LIMIT_MS; number += 1) {
  try {
    const endpoint = await host()
    if (!endpoint || endpoint === before) throw new Error('the identity still leads to the old host')
    if (at !== endpoint) {
      agent = await login(endpoint)
      at = endpoint
      said(`the DID resolves to ${endpoint} after ${((Date.now() - killed) / 1000).toFixed(1)} s`)
    }
    await write(agent, `b-${number}`)
    acknowledged.push(`b-${number}`)
    break
  } catch {
    await pause(50)
  }
}
const refusedMs = Date.now() - killed
if (!at) throw new Error('nobody has taken over')
for (let number = 0; number < 20; number += 1) {
  await write(agent, `c-${number}`)
  acknowledged.push(`c-${number}`)
}

let lost = 0
for (const rkey of acknowledged) {
  const found = await agent.com.atproto.repo.getRecord({ repo: plan.did, collection: COLLECTION, rkey }).then(
    () => true,
    () => false,
  )
  lost += found ? 0 : 1
}
const taken = others.find(({ seen }) => seen.url.replace('127.0.0.1', 'localhost') === at) ?? others[0]
for (let wait = 0; wait < 200 && !taken.seen.commits.has('c-19'); wait += 1) await pause(50)
for (const { stop } of [reader, ...others]) stop()
const rises = (sequences) => sequences.every((sequence, index) => index === 0 || sequence >= sequences[index - 1])
console.log(
  JSON.stringify({
    did: plan.did,
    before,
    now: at,
    acknowledged: acknowledged.length,
    lost,
    refusedMs,
    reader: {
      commitsBefore: reader.seen.commits.size,
      commitsAfter: taken.seen.commits.size,
      firstEventsOfTheNewHost: [...new Set(taken.seen.kinds)].slice(0, 4),
      sequencesRise: rises(reader.seen.sequences) && rises(taken.seen.sequences),
      continues: Math.min(...taken.seen.sequences) > Math.max(...reader.seen.sequences),
      unverified: taken.seen.errors.filter((error) => !/ECONNREFUSED|socket|closed|1006/i.test(error)),
    },
  }),
)
process.exit(lost === 0 ? 0 : 1)
