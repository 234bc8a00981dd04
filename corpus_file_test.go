package sesame_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// corpusCase is a request of testdata/requests, whose README.md describes the
// form.
type corpusCase struct {
	file   string
	name   string
	text   string // the request, with its placeholders
	mounts []string

	// What comes of it over each protocol, h1, h2 or h3. Those that it isn't
	// sent over have none.
	answers map[string][]corpusAnswer

	pageHasToken bool // the gateway's page has to
	isLogged     bool // Caddy logs it with its token, without asking sesame
}

// corpusAnswer is what a client gets, and whom the upstream sees.
type corpusAnswer struct {
	status   int    // statusClosed, or an HTTP status
	identity string // "none", a user's name, or empty if the upstream gets no request
	maybe    bool   // the upstream may also get none, as when a body breaks off
}

// statusClosed: the connection or the stream was closed without an answer.
const statusClosed = 0

func (a corpusAnswer) String() string {
	status := "closed"
	if a.status != statusClosed {
		status = strconv.Itoa(a.status)
	}
	return strings.TrimSpace(status + " " + a.identity)
}

// readCorpus reads all requests of testdata/requests with an extension.
func readCorpus(t *testing.T, extension string, protocols ...string) []corpusCase {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("testdata", "requests", "*"+extension))
	if err != nil || len(files) == 0 {
		t.Fatalf("no requests *%s in testdata: %v", extension, err)
	}
	var cases []corpusCase
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pieces := strings.Split("\n"+strings.TrimSuffix(string(text), "\n"), "\n### ")
		for _, piece := range pieces[1:] {
			c, err := parseCorpusCase(piece+"\n", protocols)
			if err != nil {
				t.Fatalf("%s: %q: %v", file, c.name, err)
			}
			c.file = filepath.Base(file)
			cases = append(cases, c)
		}
	}
	return cases
}

// parseCorpusCase parses what stands behind ### up to the next.
func parseCorpusCase(text string, protocols []string) (c corpusCase, err error) {
	c.name, text, _ = strings.Cut(text, "\n")
	c.answers = make(map[string][]corpusAnswer)
	for strings.HasPrefix(text, "#") {
		var line string
		line, text, _ = strings.Cut(text, "\n")
		key, value, isSetting := strings.Cut(strings.TrimPrefix(line, "# "), ": ")
		if !isSetting || strings.Contains(key, " ") {
			continue // a comment
		}
		switch key {
		case "answers", "h1", "h2", "h3":
			answers, err := parseCorpusAnswers(value)
			if err != nil {
				return c, err
			}
			for _, protocol := range protocols {
				if key == protocol || key == "answers" && c.answers[protocol] == nil {
					c.answers[protocol] = answers
				}
			}
		case "mounts":
			c.mounts = strings.Fields(value)
		case "page":
			c.pageHasToken = value == "token"
		case "log":
			c.isLogged = value == "token"
		default:
			return c, fmt.Errorf("unknown setting %q", key)
		}
	}
	if len(c.answers) == 0 {
		return c, fmt.Errorf("it has no answers")
	}
	c.text = text
	return c, nil
}

// parseCorpusAnswers parses answers separated by commas, such as
// `200 alice, 401, closed`.
func parseCorpusAnswers(text string) ([]corpusAnswer, error) {
	var answers []corpusAnswer
	if text == "unsent" {
		return answers, nil
	}
	for one := range strings.SplitSeq(text, ",") {
		status, identity, _ := strings.Cut(strings.TrimSpace(one), " ")
		identity, maybe := strings.CutSuffix(identity, "?")
		answer := corpusAnswer{identity: identity, maybe: maybe}
		if status != "closed" {
			var err error
			if answer.status, err = strconv.Atoi(status); err != nil {
				return nil, fmt.Errorf("answer %q: %w", one, err)
			}
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// isFor reports whether the request is sent to a mount.
func (c corpusCase) isFor(m *corpusMount) bool {
	if len(c.mounts) == 0 {
		return !m.named
	}
	return slices.Contains(c.mounts, m.name)
}

// expandCorpusText puts the values of placeholders in, {{name}}. Of the others,
// {{}} at a line's end joins it with the next, {{LF}}, {{CR}} and {{CRLF}} are
// the line's own end, if they stand there, {{NUL}} is that byte and {{0xFF}} any
// byte, and {{a*1000}} a thousand times the letter a.
func expandCorpusText(text string, values map[string]string) (string, error) {
	var expanded strings.Builder
	for {
		before, rest, found := strings.Cut(text, "{{")
		expanded.WriteString(before)
		if !found {
			return expanded.String(), nil
		}
		name, after, closed := strings.Cut(rest, "}}")
		if !closed {
			return "", fmt.Errorf("{{%.20s isn't closed", rest)
		}
		value, ok := values[name]
		if !ok {
			if value, ok = corpusBytes(name); !ok {
				return "", fmt.Errorf("unknown placeholder {{%s}}", name)
			}
		}
		switch name {
		case "", "CR", "LF":
			after = strings.TrimPrefix(strings.TrimPrefix(after, "\r"), "\n")
		}
		expanded.WriteString(value)
		text = after
	}
}

// corpusBytes are the placeholders for bytes that an editor has trouble with.
func corpusBytes(name string) (string, bool) {
	switch name {
	case "":
		return "", true
	case "CR":
		return "\r", true
	case "LF":
		return "\n", true
	case "NUL":
		return "\x00", true
	case "TAB":
		return "\t", true
	}
	if digits, ok := strings.CutPrefix(name, "0x"); ok {
		value, err := strconv.ParseUint(digits, 16, 8)
		return string([]byte{byte(value)}), err == nil
	}
	if what, count, ok := strings.Cut(name, "*"); ok {
		n, err := strconv.Atoi(count)
		return strings.Repeat(what, n), err == nil
	}
	return "", false
}
