// One line per check, a sum at the end, and an exit code that says whether all held.
import assert from 'node:assert/strict'

export { assert }

/** A check that cannot be made on this host, with the reason; it neither passes nor fails. */
export class NotApplicable extends Error {}

export class Checks {
  #passed = 0
  #failed = []
  #skipped = 0

  /** Runs `body`; answers what it returned, or undefined when the check failed. */
  async check(name, body) {
    try {
      const value = await body()
      this.#passed++
      console.log(`ok    ${name}`)
      return value
    } catch (error) {
      if (error instanceof NotApplicable) {
        this.#skipped++
        console.log(`skip  ${name}: ${error.message}`)
        return undefined
      }
      this.#failed.push(name)
      console.log(`FAIL  ${name}: ${oneLine(error)}`)
      return undefined
    }
  }

  /** Prints the sum and sets the exit code. */
  finish() {
    console.log(`${this.#passed} passed, ${this.#failed.length} failed, ${this.#skipped} skipped`)
    process.exitCode = this.#failed.length === 0 && this.#passed > 0 ? 0 : 1
  }
}

function oneLine(error) {
  const name = error?.error ? `${error.status} ${error.error}: ` : ''
  return `${name}${error?.message ?? error}`.replace(/\s+/g, ' ').slice(0, 400)
}

/** Expects a refusal with one of the error names (and one of the HTTP statuses, when given). */
export async function refused(promise, names, statuses) {
  let answer
  try {
    answer = await promise
  } catch (error) {
    const wanted = [names].flat()
    assert.ok(
      wanted.includes(error.error),
      `refused with ${error.status} ${error.error} (${error.message}) instead of ${wanted.join(' or ')}`,
    )
    if (statuses) assert.ok([statuses].flat().includes(error.status), `status ${error.status} instead of ${statuses}`)
    return error
  }
  throw new Error(`accepted, but should be refused with ${names}: ${JSON.stringify(answer?.data ?? null).slice(0, 200)}`)
}

/** Runs a scenario to its end. What escapes the checks fails the run, with its stack on stderr. */
export async function scenario(body) {
  const checks = new Checks()
  try {
    await body(checks)
  } catch (error) {
    console.error(error)
    await checks.check('the scenario ran to its end', () => {
      throw error
    })
  }
  checks.finish()
  process.exit()
}
