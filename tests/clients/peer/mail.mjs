// A mailbox for tests: takes mail over SMTP on loopback and hands it out over HTTP.
//
//   GET /next?to=ADDRESS&after=N   answers the mail number N+1 to that address, waiting for it up to 15 s:
//                                  {"number", "to", "subject", "text", "token"?}; 404 when none came.
//
// A token is the code of two groups that AT Protocol hosts mail for confirmation.
import { EventEmitter, once } from 'node:events'
import http from 'node:http'
import net from 'node:net'
import { listen } from './listen.mjs'

const WAIT_MS = 15_000
const MAIL_BYTES_MAX = 1 << 20

class Mailbox extends EventEmitter {
  #mails = []

  take(recipients, raw) {
    const mail = { recipients, ...parse(raw) }
    this.#mails.push(mail)
    this.emit('mail')
  }

  to(address) {
    return this.#mails.filter((mail) => mail.recipients.includes(address))
  }

  async next(address, after) {
    const deadline = AbortSignal.timeout(WAIT_MS)
    while (this.to(address).length <= after) {
      try {
        await once(this, 'mail', { signal: deadline })
      } catch {
        return undefined
      }
    }
    const mail = this.to(address)[after]
    return { number: after + 1, to: address, subject: mail.subject, text: mail.text, token: mail.token }
  }
}

function parse(raw) {
  const subject = /^subject: (.*)$/im.exec(raw)?.[1].trim() ?? ''
  const text = raw
    .split(/\r?\n--[^\r\n]+/)
    .map(decodePart)
    .join('\n')
  return { subject, text, token: /\b[A-Z2-7]{5}-[A-Z2-7]{5}\b/.exec(text)?.[0] }
}

function decodePart(part) {
  const [head, ...rest] = part.split(/\r?\n\r?\n/)
  const body = rest.join('\n\n')
  if (/transfer-encoding: base64/i.test(head)) return Buffer.from(body, 'base64').toString('utf8')
  if (/transfer-encoding: quoted-printable/i.test(head)) {
    const unfolded = body.replace(/=\r?\n/g, '')
    return unfolded.replace(/=([0-9A-F]{2})/g, (_, hex) => String.fromCharCode(parseInt(hex, 16)))
  }
  return body
}

function converse(socket, mailbox) {
  let buffer = ''
  let recipients = []
  let data = false
  const reply = (line) => socket.write(`${line}\r\n`)
  reply('220 mailbox')
  socket.on('error', () => socket.destroy())
  socket.on('data', (chunk) => {
    buffer += chunk.toString('latin1')
    if (buffer.length > MAIL_BYTES_MAX) return socket.destroy()
    for (;;) {
      const end = buffer.indexOf(data ? '\r\n.\r\n' : '\r\n')
      if (end < 0) return
      const text = buffer.slice(0, end)
      buffer = buffer.slice(end + (data ? 5 : 2))
      if (data) {
        data = false
        mailbox.take(recipients, text)
        recipients = []
        reply('250 taken')
      } else if (/^data$/i.test(text)) {
        data = true
        reply('354 go on')
      } else if (/^quit$/i.test(text)) {
        reply('221 bye')
        socket.end()
      } else {
        const recipient = /^rcpt to:<([^>]+)>/i.exec(text)
        if (recipient) recipients.push(recipient[1])
        reply('250 ok')
      }
    }
  })
}

/** Starts a mailbox; answers `{ url, smtpUrl, close }`. */
export async function startMail() {
  const mailbox = new Mailbox()
  mailbox.setMaxListeners(0)
  const sockets = new Set()
  const smtp = net.createServer((socket) => {
    sockets.add(socket.on('close', () => sockets.delete(socket)))
    converse(socket, mailbox)
  })
  const web = http.createServer(async (request, response) => {
    const { searchParams } = new URL(request.url, 'http://mailbox')
    const mail = await mailbox.next(searchParams.get('to'), Number(searchParams.get('after') ?? 0))
    response.writeHead(mail ? 200 : 404, { 'content-type': 'application/json' })
    response.end(JSON.stringify(mail ?? { message: 'no such mail came' }))
  })
  const [inbound, outbound] = [await listen(smtp), await listen(web)]
  return {
    url: outbound.url,
    smtpUrl: `smtp://localhost:${inbound.port}`,
    close: async () => {
      for (const socket of sockets) socket.destroy()
      await Promise.all([inbound.close(), outbound.close()])
    },
  }
}
