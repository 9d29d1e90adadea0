// Reads what an account has at one address, again and again, until told to stop: whether that goes on while the account
// moves to another machine.
//
//   scripts/clients reads PLAN
//
// PLAN is JSON: {"url", "did", "collection", "out"}. SIGTERM ends it; it then writes to the file `out`, as JSON, how many
// reads were answered, which failed, and how long the longest took in milliseconds.
import { writeFileSync } from 'node:fs'
import { setTimeout as pause } from 'node:timers/promises'
import { AtpAgent } from '@atproto/api'

const { url, did, collection, out } = JSON.parse(process.argv[2])
const agent = new AtpAgent({ service: url })
const { data } = await agent.com.atproto.repo.listRecords({ repo: did, collection, limit: 100 })
const rkeys = data.records.map(({ uri }) => uri.split('/').at(-1))
if (rkeys.length === 0) throw new Error(`${did} has no records in ${collection}`)

let going = true
process.on('SIGTERM', () => (going = false))
const failed = []
let answered = 0
let longestMs = 0
for (let number = 0; going; number += 1) {
  const began = Date.now()
  try {
    await agent.com.atproto.repo.getRecord({ repo: did, collection, rkey: rkeys[number % rkeys.length] })
    answered += 1
  } catch (error) {
    failed.push(String(error?.message ?? error))
  }
  longestMs = Math.max(longestMs, Date.now() - began)
  await pause(10)
}
writeFileSync(out, JSON.stringify({ answered, failed, longestMs }))
