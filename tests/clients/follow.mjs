// Follows one account at one host with the official packages, through restarts and cuts, until told to stop: whether everything
// that comes is believed, and whether it leads on from what came before.
//
//   scripts/clients follow PLAN
//
// PLAN is JSON: {"url", "did", "out"}. SIGTERM ends it. It then asks for the repository, which a host that is not the account's
// does not give, verifies it, and writes to the file `out`, as JSON: how many commits came, what was wrong, what could not be
// verified for a reason, the last revision, and the revision of the repository that was verified.
import { writeFileSync } from 'node:fs'
import { AtpAgent } from '@atproto/api'
import { verifyRepoCar } from '@atproto/repo'
import { Firehose } from '@atproto/sync'
import { newResolver } from './lib/target.mjs'

const { url, did, out } = JSON.parse(process.argv[2])
const NO_ANSWER = /fetch failed|ECONNRE|socket|timeout|timed out|abort|terminated|poorly formatted|could not resolve/i
const resolver = newResolver({ plcUrl: `${url}/plc` })
const seen = { commits: 0, syncs: 0, wrong: [], unverified: 0, rev: undefined, repo: undefined }
let cursor = 0
let stopping = false

/** Whether the identity leads to this host: what it signs must verify then. What it had signed before need not. */
async function leadsHere() {
  const document = await fetch(`${url}/plc/${did}`).then((answer) => answer.json())
  const endpoint = document.service?.[0]?.serviceEndpoint ?? ''
  return new URL(endpoint).port === new URL(url).port
}

function note(event) {
  const kind = event.$type?.split('#').at(-1)
  if (kind === 'info') return void seen.wrong.push(`the stream says ${event.name}: ${event.message}`)
  if (event.seq <= cursor) seen.wrong.push(`event ${event.seq} comes behind ${cursor}`)
  cursor = Math.max(cursor, event.seq ?? 0)
  if ((event.repo ?? event.did) !== did) return
  if (kind === 'sync') {
    seen.syncs += 1
    seen.rev = event.rev
  } else if (kind === 'commit') {
    seen.commits += 1
    const since = event.since ?? undefined
    if (seen.rev !== since) seen.wrong.push(`commit ${event.rev} (${event.seq}) leads on from ${since}, not from ${seen.rev}`)
    seen.rev = event.rev
  }
}

class Follower extends Firehose {
  async parseEvt(event) {
    note(event)
    return super.parseEvt(event)
  }
}

async function unbelieved(error) {
  if (stopping || error?.name === 'FirehoseSubscriptionError') return
  const cause = String(error?.err?.message ?? error?.cause?.message ?? error?.message ?? error)
  const here = await leadsHere().catch(() => undefined)
  if (here && !NO_ANSWER.test(cause)) seen.wrong.push(`${error?.constructor?.name}: ${cause}`)
  else seen.unverified += 1
}

const firehose = new Follower({
  idResolver: resolver,
  service: url.replace(/^http/, 'ws'),
  unauthenticatedHandles: true,
  subscriptionReconnectDelay: 200,
  maxReconnectSeconds: 1,
  getCursor: () => cursor,
  handleEvent: () => {},
  onError: (error) => void unbelieved(error),
})
firehose.start()

process.on('SIGTERM', async () => {
  stopping = true
  try {
    const { data } = await new AtpAgent({ service: url }).com.atproto.sync.getRepo({ did })
    const key = await resolver.did.resolveAtprotoKey(did, true)
    const { commit } = await verifyRepoCar(new Uint8Array(data), did, key)
    seen.repo = commit.rev
  } catch (error) {
    seen.refused = String(error?.message ?? error)
  }
  writeFileSync(out, JSON.stringify(seen))
  process.exit(0)
})
console.log('following')
