// The reference host: the PDS that the protocol's authors publish, in this process, on loopback, in a directory of
// its own that goes when it stops.
import crypto from 'node:crypto'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { freePort } from './listen.mjs'

const START_ATTEMPTS = 5

// A host that others can dial over plain HTTP, which it allows only in its development mode. That mode also makes it
// check its own answers against the lexicons.
const forClients = (port) => ({
  hostname: 'localhost',
  serviceDid: `did:web:localhost%3A${port}`,
  devMode: true,
  rateLimitsEnabled: true,
})

// The host as an operator runs it, less the rate limits. Its accounts name a host that nobody can dial.
const forLoad = (number) => ({ hostname: `load${number}.test`, rateLimitsEnabled: false })

/**
 * Starts the reference host. `number` makes its handle domain its own; `load` runs it as an operator would, for measuring;
 * `backfillMs` is how far back its event stream replays; `importBytesMax` bounds importRepo. Answers `{ target, close }`.
 */
export async function startPds({ number = 1, plcUrl, smtpUrl, mailUrl, load = false, backfillMs, importBytesMax }) {
  process.env.LOG_ENABLED ??= 'false'
  const { PDS, envToCfg, envToSecrets } = await import('@atproto/pds')
  const directory = await mkdtemp(join(tmpdir(), 'angel-peer-'))
  await mkdir(join(directory, 'blobs'))
  const adminPassword = crypto.randomBytes(16).toString('hex')
  const handleDomain = `.pds${number}.test`
  const environment = (port) => ({
    port,
    ...(load ? forLoad(number) : forClients(port)),
    serviceName: `Reference host ${number}`,
    serviceHandleDomains: [handleDomain],
    dataDirectory: directory,
    blobstoreDiskLocation: join(directory, 'blobs'),
    blobstoreDiskTmpLocation: join(directory, 'blobs-partial'),
    didPlcUrl: plcUrl,
    inviteRequired: false,
    emailSmtpUrl: smtpUrl,
    emailFromAddress: 'host@localhost.test',
    // Preferences are served only by a host that knows an application view; this one is never called.
    bskyAppViewUrl: 'http://localhost:1',
    bskyAppViewDid: 'did:web:appview.test',
    repoBackfillLimitMs: backfillMs,
    maxImportSize: importBytesMax,
    disableSsrfProtection: true,
    jwtSecret: crypto.randomBytes(16).toString('hex'),
    adminPassword,
    plcRotationKeyK256PrivateKeyHex: crypto.randomBytes(32).toString('hex'),
    crawlers: [],
  })
  const close = async (pds) => {
    await pds?.destroy()
    await rm(directory, { recursive: true, force: true })
  }
  for (let attempt = 1; ; attempt++) {
    const port = await freePort()
    const env = environment(port)
    const pds = await PDS.create(envToCfg(env), envToSecrets(env)).catch(async (error) => {
      await close()
      throw error
    })
    const everywhere = pds.app.listen.bind(pds.app)
    pds.app.listen = (onPort) => everywhere(onPort, '127.0.0.1')
    try {
      await pds.start()
    } catch (error) {
      if (error.code === 'EADDRINUSE' && attempt < START_ATTEMPTS) {
        await pds.destroy()
        continue
      }
      await close(pds)
      throw error
    }
    const target = {
      url: `http://localhost:${port}`,
      adminPassword,
      handleDomain,
      plcUrl,
      mailUrl,
      pid: process.pid,
      reference: true,
    }
    return { target, close: () => close(pds) }
  }
}
