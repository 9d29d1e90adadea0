// A proxy in front of a host that tells one lie, so that a scenario can be seen to catch it.
import http from 'node:http'
import { decodeAll, encode } from '@atproto/lex-cbor'
import { WebSocket, WebSocketServer } from 'ws'
import { listen } from './listen.mjs'

let proxies = 0

/**
 * Stands in front of `target` and applies `lie`, which may have
 *   request(request)            changes what is sent on; answering with a response keeps it from the host
 *   response(request, response) changes what comes back
 *   stream(url)                 changes the address of an event stream
 *   frame(header, body, state)  answers the messages [{header, body}] that are passed on in its place; `state` is the
 *                               stream's own, and knows when the proxy started
 * Answers `{ target, close }`.
 */
export async function startLiar(target, lie = {}) {
  // Each proxy speaks for a client of its own, or the host's rate limits would judge all runs together.
  const client = `10.0.${++proxies >> 8}.${proxies & 255}`
  const upstream = new URL(target.url)
  const agent = new http.Agent({ keepAlive: true })
  const startedAt = Date.now()

  const forward = (request) =>
    new Promise((resolve, reject) => {
      const headers = { ...request.headers, 'x-forwarded-for': client, 'content-length': request.body.length }
      delete headers['accept-encoding']
      delete headers['transfer-encoding']
      if (request.body.length === 0 && request.method === 'GET') delete headers['content-length']
      const path = request.url.pathname + request.url.search
      const options = { host: upstream.hostname, port: upstream.port, method: request.method, path, headers, agent }
      const call = http.request(options, async (answer) => {
        const body = Buffer.concat(await answer.toArray())
        resolve({ status: answer.statusCode, headers: answer.headers, body })
      })
      call.on('error', reject).end(request.body)
    })

  const server = http.createServer(async (incoming, outgoing) => {
    try {
      const request = {
        method: incoming.method,
        url: new URL(incoming.url, target.url),
        headers: incoming.headers,
        body: Buffer.concat(await incoming.toArray()),
      }
      request.nsid = request.url.pathname.replace('/xrpc/', '')
      const response = lie.request?.(request) ?? (await forward(request))
      await lie.response?.(request, response)
      delete response.headers['transfer-encoding']
      delete response.headers.connection
      if (incoming.method !== 'HEAD') response.headers['content-length'] = response.body.length
      outgoing.writeHead(response.status, response.headers).end(response.body)
    } catch (error) {
      outgoing.writeHead(502).end(`the proxy failed: ${error.message}`)
    }
  })

  const sockets = new WebSocketServer({ noServer: true })
  server.on('upgrade', (incoming, socket, head) => {
    sockets.handleUpgrade(incoming, socket, head, (down) => {
      const url = new URL(incoming.url, target.url.replace(/^http/, 'ws'))
      lie.stream?.(url)
      const up = new WebSocket(url)
      const state = { startedAt }
      let turn = Promise.resolve()
      up.on('message', (data) => {
        turn = turn.then(async () => {
          if (!lie.frame) return down.send(data)
          const [header, body] = decodeAll(data)
          for (const frame of await lie.frame(header, body, state)) {
            down.send(Buffer.concat([encode(frame.header), encode(frame.body)]))
          }
        })
      })
      up.on('close', () => turn.then(() => down.close()))
      up.on('error', () => down.terminate())
      down.on('close', () => up.terminate())
      down.on('error', () => up.terminate())
    })
  })
  const { url, close } = await listen(server)
  return {
    target: { ...target, url },
    close: async () => {
      for (const socket of sockets.clients) socket.terminate()
      agent.destroy()
      await close()
    },
  }
}
