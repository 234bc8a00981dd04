// Reads hexadecimal queries, one a line, and prints how Node reads the parameter
// id of each. qs is what Express uses.
const querystring = require('querystring')
const qs = require('qs')
const hex = (value) => typeof value === 'string' ? Buffer.from(value, 'utf8').toString('hex') : null
const one = (values) => values.length === 1 ? hex(values[0]) : null

function read(query) {
	return {
		URLSearchParams: one(new URLSearchParams(query).getAll('id')),
		URL: one(new URL('/?' + query, 'http://app.example.com').searchParams.getAll('id')),
		querystring: hex(querystring.parse(query).id),
		qs: hex(qs.parse(query).id),
		'qs with dots': hex(qs.parse(query, { allowDots: true }).id),
	}
}

const lines = require('fs').readFileSync(0, 'latin1').trimEnd().split('\n')
console.log(lines.map((line) => JSON.stringify(read(Buffer.from(line, 'hex').toString('latin1')))).join('\n'))
