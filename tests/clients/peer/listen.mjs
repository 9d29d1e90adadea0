// Loopback only: nothing here may be reached from another machine.
import { once } from 'node:events'
import net from 'node:net'

/** Listens on a free loopback port; answers `{ port, url, close }`. */
export async function listen(server) {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  const close = () =>
    new Promise((resolve) => {
      server.close(resolve)
      server.closeAllConnections?.()
    })
  // By name: the reference host refuses an address where it expects a host name.
  return { port, url: `http://localhost:${port}`, close }
}

/** A port that was free a moment ago, for a server that must know its own address before it listens. */
export async function freePort() {
  const probe = net.createServer()
  const { port, close } = await listen(probe)
  await close()
  return port
}
