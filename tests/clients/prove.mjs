// Proves the judges: every scenario is green against the reference host, green through a proxy that changes nothing,
// and red, at the right check, through a proxy that tells one lie.
//
//   scripts/clients prove [SCENARIO…] [--lie WORDS]
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { LIES } from './lib/lies.mjs'
import { startLiar } from './peer/liar.mjs'
import { startMail } from './peer/mail.mjs'
import { startPds } from './peer/pds.mjs'
import { startPlc } from './peer/plc.mjs'

const SHORT_WINDOW_MS = 1_500
const RUN_MS_MAX = 240_000
const { values: options, positionals } = parseArgs({ allowPositionals: true, options: { lie: { type: 'string' } } })
const scenarios = positionals.length > 0 ? positionals : Object.keys(LIES)
const script = fileURLToPath(new URL('../../scripts/clients', import.meta.url))

/** Runs a scenario as its user would; answers its exit code and output. */
function run(scenario, targets) {
  return new Promise((resolve, reject) => {
    const child = spawn(script, [scenario, ...targets.map((target) => JSON.stringify(target))], { timeout: RUN_MS_MAX })
    let output = ''
    child.stdout.on('data', (data) => (output += data))
    child.stderr.on('data', (data) => (output += data))
    child.on('error', reject)
    child.on('close', (code) => resolve({ code, output }))
  })
}

const plc = await startPlc()
const mail = await startMail()
const common = { plcUrl: plc.url, smtpUrl: mail.smtpUrl, mailUrl: mail.url }
const hosts = [await startPds({ ...common, number: 1 }), await startPds({ ...common, number: 2 })]
const short = await startPds({ ...common, number: 3, backfillMs: SHORT_WINDOW_MS })
const [first, second] = hosts.map((host) => host.target)

/** The targets of one run, with the proxies that stand before them. */
async function stage(scenario, lie) {
  const proxies = []
  const behind = async (target, ofThis) => {
    const proxy = await startLiar(target, ofThis)
    proxies.push(proxy)
    return proxy.target
  }
  let targets
  if (scenario === 'migrate') {
    targets = [await behind(first, lie.host === 'from' ? lie : {}), await behind(second, lie.host === 'to' ? lie : {})]
  } else if (scenario === 'sync') {
    targets = [await behind(first, lie.short ? {} : lie), ...(lie.short || lie.control ? [await behind(short.target, lie)] : [])]
  } else {
    targets = [await behind(first, lie)]
  }
  return { targets, close: () => Promise.all(proxies.map((proxy) => proxy.close())) }
}

let passed = 0
let failed = 0
function report(held, words, output) {
  if (held) passed++
  else failed++
  console.log(`${held ? 'ok   ' : 'FAIL '} ${words}`)
  if (!held) console.log(output.replace(/^/gm, '      '))
}

async function staged(scenario, lie) {
  const { targets, close } = await stage(scenario, lie)
  try {
    return await run(scenario, targets)
  } finally {
    await close()
  }
}

for (const scenario of scenarios) {
  if (!options.lie) {
    const truth = await staged(scenario, { control: true })
    report(truth.code === 0, `${scenario}: the truth is believed`, truth.output)
  }
  for (const { name, caughtBy, lie } of LIES[scenario]) {
    if (options.lie && !name.includes(options.lie)) continue
    const { code, output } = await staged(scenario, lie)
    const caught = output.split('\n').filter((line) => line.startsWith('FAIL'))
    const right = caught.some((line) => line.includes(caughtBy))
    report(code === 1 && right, `${scenario}: ${name} (${caught.length} checks failed, among them “${caughtBy}”)`, output)
  }
}
console.log(`${passed} passed, ${failed} failed, 0 skipped`)
for (const service of [...hosts, short, mail, plc]) await service.close()
process.exit(failed === 0 && passed > 0 ? 0 : 1)
