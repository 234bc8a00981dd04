package binlog

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
)

// QueryEvent is a statement in the log.
type QueryEvent struct {
	Schema    string // the default database
	Statement []byte
}

// ParseQuery reads the body of a query event.
func ParseQuery(t Type, body []byte) (QueryEvent, error) {
	f := fields{rest: body}
	f.take(8) // thread and time
	schema := int(f.uint8())
	f.take(2) // error
	status := binary.LittleEndian.Uint16(append(f.take(2), 0, 0))
	f.take(int(status))
	q := QueryEvent{Schema: string(f.take(schema))}
	f.take(1) // a zero byte
	if f.short {
		return QueryEvent{}, errShort
	}
	q.Statement = f.rest
	if t == MariaQueryCompressed {
		plain, err := unzip(f.rest)
		if err != nil {
			return QueryEvent{}, err
		}
		q.Statement = plain
	}
	return q, nil
}

// Effect is what a statement may have changed.
type Effect uint8

// The effects of statements.
const (
	NoEffect Effect = iota
	ChangesRows
	ChangesTables // definitions, and rows
)

// Effect returns what a statement may have changed in tables of some schemas, whose
// names are in lower case. It is NoEffect only where that is certain.
func (q QueryEvent) Effect(schemas []string) Effect {
	words := firstWords(q.Statement)
	switch {
	case len(words) == 0:
		return ChangesTables
	case q.Ends():
		return NoEffect
	case isOneOf(words, ofTransactions), isOneOf(words, withoutRows):
		return NoEffect
	case isOneOf(words, [][]string{{"XA", "COMMIT"}}), isOneOf(words, ofRows):
		return ChangesRows
	case isOneOf(words, ofTemporaryTables) && q.mayCall():
		return ChangesRows
	case isOneOf(words, ofTemporaryTables):
		return NoEffect
	case isOneOf(words, ofTables) && q.isElsewhere(schemas):
		return NoEffect
	default:
		return ChangesTables
	}
}

// Begins reports whether the statement begins a transaction.
func (q QueryEvent) Begins() bool {
	return isOneOf(firstWords(q.Statement), [][]string{{"BEGIN"}, {"START", "TRANSACTION"}, {"XA", "START"}, {"XA", "BEGIN"}})
}

// Ends reports whether the statement ends a transaction.
func (q QueryEvent) Ends() bool {
	words := firstWords(q.Statement)
	return len(words) == 1 && (words[0] == "COMMIT" || words[0] == "ROLLBACK")
}

// Statements by the words that they begin with.
var (
	// ofTransactions are written around changes of rows. XA COMMIT, which makes rows
	// visible that are in the log since XA PREPARE, isn't one of them.
	ofTransactions = [][]string{
		{"BEGIN"},
		{"START", "TRANSACTION"},
		{"SAVEPOINT"},
		{"ROLLBACK", "TO"},
		{"RELEASE", "SAVEPOINT"},
		{"XA", "START"},
		{"XA", "BEGIN"},
		{"XA", "END"},
		{"XA", "PREPARE"},
		{"XA", "ROLLBACK"},
	}

	// withoutRows change neither rows nor definitions of tables.
	withoutRows = [][]string{
		{"GRANT"},
		{"REVOKE"},
		{"SET", "PASSWORD"},
		{"SET", "DEFAULT", "ROLE"},
		{"FLUSH"},
		{"ANALYZE", "TABLE"},
		{"ANALYZE", "LOCAL", "TABLE"},
		{"ANALYZE", "NO_WRITE_TO_BINLOG", "TABLE"},
		{"CREATE", "USER"},
		{"ALTER", "USER"},
		{"DROP", "USER"},
		{"RENAME", "USER"},
		{"CREATE", "ROLE"},
		{"DROP", "ROLE"},
		{"DROP", "TEMPORARY", "TABLE"},
		{"DROP", "/*!40005", "TEMPORARY", "*/", "TABLE"},
	}

	// ofRows may change rows. MariaDB's ANALYZE executes the statement behind it.
	ofRows = [][]string{
		{"ANALYZE"},
		{"INSERT"},
		{"UPDATE"},
		{"DELETE"},
		{"REPLACE"},
		{"LOAD"},
		{"SELECT"},
		{"WITH"},
		{"CALL"},
		{"DO"},
		{"TRUNCATE"},
	}

	// ofTemporaryTables concern one session, but what fills such a table may call a function.
	ofTemporaryTables = [][]string{{"CREATE", "TEMPORARY", "TABLE"}, {"CREATE", "OR", "REPLACE", "TEMPORARY", "TABLE"}}

	ofTables = [][]string{{"CREATE"}, {"ALTER"}, {"DROP"}, {"RENAME"}, {"OPTIMIZE"}}
)

// isOneOf reports whether a statement begins with the words of one of some.
func isOneOf(words []string, beginnings [][]string) bool {
	return slices.ContainsFunc(beginnings, func(with []string) bool {
		return len(words) >= len(with) && slices.Equal(words[:len(with)], with)
	})
}

// mostWords is how many words tell what a statement is.
const mostWords = 5

// firstWords are the first words of a statement, in upper case, without comments.
func firstWords(statement []byte) []string {
	const enough = 1024
	text := statement[:min(len(statement), enough)]
	var words []string
	for len(words) < mostWords {
		text = skipComments(text)
		end := bytes.IndexAny(text, " \t\r\n(;`'\"")
		if end < 0 {
			end = len(text)
		}
		if end == 0 {
			break
		}
		words = append(words, strings.ToUpper(string(text[:end])))
		text = text[end:]
	}
	return words
}

// skipComments skips white space and comments, but for those that are executed.
func skipComments(text []byte) []byte {
	for {
		text = bytes.TrimLeft(text, " \t\r\n")
		var end int
		switch {
		case bytes.HasPrefix(text, []byte("/*!")), bytes.HasPrefix(text, []byte("/*M!")):
			return text
		case bytes.HasPrefix(text, []byte("/*")):
			if end = bytes.Index(text, []byte("*/")); end >= 0 {
				end += len("*/")
			}
		case bytes.HasPrefix(text, []byte("#")), bytes.HasPrefix(text, []byte("-- ")):
			end = bytes.IndexByte(text, '\n')
		default:
			return text
		}
		if end < 0 {
			return nil
		}
		text = text[end:]
	}
}

// isElsewhere reports whether a statement on tables names none of the schemas, as a
// statement must that concerns their tables: names of databases have no other
// spelling. It may not read rows either, as a function that it calls may change any.
func (q QueryEvent) isElsewhere(schemas []string) bool {
	if slices.Contains(schemas, strings.ToLower(q.Schema)) || q.mayCall() {
		return false
	}
	lower := bytes.ToLower(q.Statement)
	// A quotation mark in a name is written twice, and other letters than ASCII have
	// other cases.
	hasSpellings := func(c rune) bool { return c >= 0x80 || c == '`' || c == '"' }
	return !slices.ContainsFunc(schemas, func(schema string) bool {
		return strings.ContainsFunc(schema, hasSpellings) || bytes.Contains(lower, []byte(schema))
	})
}

// mayCall reports whether a statement on a table may call a function: CREATE TABLE may be
// followed by SELECT, by VALUES, or by TABLE with the name of a view.
func (q QueryEvent) mayCall() bool {
	lower := bytes.ToLower(q.Statement)
	return bytes.Contains(lower, []byte("select")) || bytes.Contains(lower, []byte("values")) || bytes.Count(lower, []byte("table")) > 1
}
