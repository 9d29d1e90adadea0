// Runs the reference host until it is told to stop (SIGTERM, SIGINT, or the end of stdin with --until-stdin-closes).
//
//   --hosts N             so many hosts, sharing one did:plc directory and one mailbox (default 1)
//   --directory           only the directory and the mailbox
//   --plc URL             a directory that runs elsewhere, instead of one in this process
//   --mail URL --smtp URL a mailbox that runs elsewhere, the same
//   --load                without rate limits and without checks of its own answers, for measuring
//   --backfill-ms N       how far back the event stream replays (default: a day)
//   --import-bytes-max N  largest repository that importRepo takes
//
// Prints one line of JSON per host, each of them a TARGET for the scenarios; with --directory one line with
// {"plcUrl","mailUrl","smtpUrl","pid"}. When the lines are there, the hosts answer.
import { parseArgs } from 'node:util'
import { startMail } from './mail.mjs'
import { startPds } from './pds.mjs'
import { startPlc } from './plc.mjs'

const { values: options } = parseArgs({
  options: {
    hosts: { type: 'string', default: '1' },
    directory: { type: 'boolean', default: false },
    plc: { type: 'string' },
    mail: { type: 'string' },
    smtp: { type: 'string' },
    load: { type: 'boolean', default: false },
    'backfill-ms': { type: 'string' },
    'import-bytes-max': { type: 'string' },
    'until-stdin-closes': { type: 'boolean', default: false },
  },
})
const number = (text) => (text === undefined ? undefined : Number(text))

const running = []
let stopping
async function stop(code) {
  stopping ??= (async () => {
    for (const service of running.reverse()) await service.close()
  })()
  await stopping
  process.exit(code)
}
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => stop(0))
if (options['until-stdin-closes']) process.stdin.on('end', () => stop(0)).resume()

try {
  const plc = options.plc ? { url: options.plc } : await startPlc()
  if (!options.plc) running.push(plc)
  const mail = options.smtp ? { url: options.mail, smtpUrl: options.smtp } : await startMail()
  if (!options.smtp) running.push(mail)
  if (options.directory) {
    console.log(JSON.stringify({ plcUrl: plc.url, mailUrl: mail.url, smtpUrl: mail.smtpUrl, pid: process.pid }))
  } else {
    for (let host = 1; host <= Number(options.hosts); host++) {
      const pds = await startPds({
        number: host,
        plcUrl: plc.url,
        smtpUrl: mail.smtpUrl,
        mailUrl: mail.url,
        load: options.load,
        backfillMs: number(options['backfill-ms']),
        importBytesMax: number(options['import-bytes-max']),
      })
      running.push(pds)
      console.log(JSON.stringify(pds.target))
    }
  }
} catch (error) {
  console.error(`peer: could not start: ${error.stack}`)
  await stop(1)
}
