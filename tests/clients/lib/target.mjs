// The host under test, and accounts on it.
import { execFile } from 'node:child_process'
import crypto from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { AtpAgent } from '@atproto/api'
import { IdResolver } from '@atproto/identity'

/** Reads a TARGET: JSON, or a file that holds it. A missing directory is the host's own. */
export function readTarget(argument) {
  if (!argument) throw new Error('a TARGET is missing: JSON, or a file that holds it')
  const target = JSON.parse(existsSync(argument) ? readFileSync(argument, 'utf8') : argument)
  for (const field of ['url', 'adminPassword', 'handleDomain']) {
    if (!target[field]) throw new Error(`TARGET lacks ${field}`)
  }
  target.url = target.url.replace(/\/$/, '')
  target.plcUrl ??= `${target.url}/plc`
  return target
}

const unique = () => crypto.randomBytes(5).toString('hex')

/** A handle on that host that nobody has had. */
export const newHandle = (target, prefix = 'c') => `${prefix}${unique()}${target.handleDomain}`

// Sessions carry a DID document whose endpoint the client would move to. The host under test is the one that was
// named, so that it may stand behind a proxy; the document's endpoint is checked on its own.
class PinnedAgent extends AtpAgent {
  constructor(options) {
    super(options)
    Object.defineProperty(this.sessionManager, 'pdsUrl', { get: () => undefined, set: () => {} })
  }
}

export const newAgent = (target) => new PinnedAgent({ service: target.url })

export const adminHeaders = (target) => ({
  authorization: `Basic ${Buffer.from(`admin:${target.adminPassword}`).toString('base64')}`,
})

/** What createAccount needs on that host: an invitation code where it asks for one. */
export async function accountInput(target, handle = newHandle(target)) {
  const agent = newAgent(target)
  const { data: server } = await agent.com.atproto.server.describeServer()
  const input = { handle, email: `${handle.split('.')[0]}@example.com`, password: `pw-${unique()}` }
  if (server.inviteCodeRequired) {
    const options = { encoding: 'application/json', headers: adminHeaders(target) }
    const { data } = await agent.com.atproto.server.createInviteCode({ useCount: 1 }, options)
    input.inviteCode = data.code
  }
  return input
}

/** A new account and a signed-in agent for it. */
export async function newAccount(target, handle) {
  const agent = newAgent(target)
  const input = await accountInput(target, handle)
  const { data } = await agent.createAccount(input)
  return { agent, did: data.did, handle: data.handle, didDoc: data.didDoc, input }
}

/** Resolves DIDs through the target's directory, over plain HTTP on loopback. */
export function newResolver(target) {
  const fetchBelowPath = (url, init) => {
    // The resolver drops the path of the directory's URL; a host may serve its directory under one.
    const { pathname } = new URL(url)
    return pathname.startsWith('/did%3Aplc%3A') ? fetch(`${target.plcUrl}${pathname}`, init) : fetch(url, init)
  }
  return new IdResolver({ plcUrl: target.plcUrl, fetch: fetchBelowPath })
}

/**
 * The code that the host sent to an account's owner: by mail (`mailUrl`), or through a command of the host's own
 * (`tokenCommand`, an argument list; the DID and the purpose are appended; it prints the code).
 */
export class ConfirmationCodes {
  #seen = new Map()

  constructor(target) {
    this.target = target
  }

  get available() {
    return Boolean(this.target.mailUrl || this.target.tokenCommand)
  }

  async next({ did, email, purpose }) {
    if (this.target.tokenCommand) {
      const [program, ...args] = this.target.tokenCommand
      const { stdout } = await promisify(execFile)(program, [...args, did, purpose])
      return stdout.trim()
    }
    for (;;) {
      const after = this.#seen.get(email) ?? 0
      const response = await fetch(`${this.target.mailUrl}/next?to=${encodeURIComponent(email)}&after=${after}`)
      if (!response.ok) throw new Error(`no mail with a code came to ${email}`)
      this.#seen.set(email, after + 1)
      const mail = await response.json()
      if (mail.token) return mail.token
    }
  }
}
