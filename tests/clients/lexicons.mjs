// Writes down what the protocol's own packages say of its methods: the lexicon documents that `@atproto/api` carries.
//
//   scripts/clients lexicons PLAN
//
// PLAN is JSON: {"out"}. The file `out` gets a JSON list of the documents under `com.atproto`.
import { writeFileSync } from 'node:fs'
import { schemas } from '@atproto/api'

const { out } = JSON.parse(process.argv[2])
// In the packages every reference is whole and says that it is one; in documents it does not.
const asWritten = (_, value) => (typeof value === 'string' && value.startsWith('lex:') ? value.slice(4) : value)
writeFileSync(out, JSON.stringify(schemas.filter(({ id }) => id.startsWith('com.atproto.')), asWritten))
