// The event stream as it comes off the socket: every frame decoded, kept, and awaited with a deadline.
import { decodeAll } from '@atproto/lex-cbor'
import WebSocket from 'ws'

const WAIT_MS = 20_000

export class EventStream {
  frames = [] // [{ header: { op, t? }, body }] in order of arrival.
  closed = undefined // { code, reason } once the host has closed it.
  #wakes = new Set()

  constructor(target, cursor) {
    const url = new URL('/xrpc/com.atproto.sync.subscribeRepos', target.url)
    url.protocol = url.protocol.replace('http', 'ws')
    if (cursor !== undefined) url.searchParams.set('cursor', String(cursor))
    this.socket = new WebSocket(url)
    this.socket.on('message', (data, binary) => {
      if (!binary) return this.#end({ code: undefined, reason: 'a text frame came' })
      try {
        const [header, body, ...rest] = decodeAll(data)
        if (rest.length > 0) throw new Error('a frame holds more than header and body')
        this.frames.push({ header, body, bytes: data.length })
      } catch (error) {
        this.#end({ code: undefined, reason: `a frame does not decode: ${error.message}` })
      }
      this.#wake()
    })
    this.socket.on('close', (code, reason) => this.#end({ code, reason: reason.toString() }))
    this.socket.on('error', (error) => this.#end({ code: undefined, reason: error.message }))
  }

  #end(closed) {
    this.closed ??= closed
    this.#wake()
  }

  #wake() {
    for (const wake of this.#wakes) wake()
  }

  /** Waits until `test(this)` is truthy and answers with that. */
  async until(what, test, waitMs = WAIT_MS) {
    const deadline = Date.now() + waitMs
    for (;;) {
      const found = test(this)
      if (found) return found
      const left = deadline - Date.now()
      if (left <= 0) throw new Error(`waited ${waitMs} ms in vain for ${what}; ${this.frames.length} frames came`)
      if (this.closed && !this.#open) throw new Error(`the stream ended (${this.closed.reason}) before ${what}`)
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, left)
        const wake = () => {
          clearTimeout(timer)
          this.#wakes.delete(wake)
          resolve()
        }
        this.#wakes.add(wake)
      })
    }
  }

  get #open() {
    return this.socket.readyState <= WebSocket.OPEN && this.closed?.reason === undefined
  }

  /** The messages of one kind ("#commit") about one account. */
  about(did, kind) {
    return this.frames
      .filter(({ header, body }) => (!kind || header.t === kind) && (body.repo === did || body.did === did))
      .map(({ header, body }) => ({ kind: header.t, ...body }))
  }

  close() {
    this.socket.terminate()
  }
}
