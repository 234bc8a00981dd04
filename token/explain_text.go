package token

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// String returns the explanation as text in short lines.
func (e *Explanation) String() string {
	var b strings.Builder
	_, _ = e.WriteTo(&b) // a Builder never fails
	return b.String()
}

// WriteTo writes what String returns: the verdict, what the token holds, and a
// line for each finding.
func (e *Explanation) WriteTo(w io.Writer) (int64, error) {
	var b strings.Builder
	if e.Reason == 0 {
		b.WriteString("valid\n")
	} else {
		fmt.Fprintf(&b, "refused: %s (%s)\n", e.Verdict, e.Summary)
	}
	if holds := e.holds(); len(holds) > 0 {
		claims := "it says"
		if e.Authentic {
			claims = "it holds"
		}
		fmt.Fprintf(&b, "%s: %s\n", claims, strings.Join(holds, ", "))
	}
	for _, f := range e.Findings {
		fmt.Fprintf(&b, "%-8s  %s: %s\n", f.Certainty, f.Cause, f.Text)
		if f.Remedy != "" {
			fmt.Fprintf(&b, "          remedy: %s\n", f.Remedy)
		}
	}
	if e.Incomplete {
		b.WriteString("not all possible causes were tried: it would take too long, or the signature is too short to prove them\n")
	}
	n, err := io.WriteString(w, b.String())
	return int64(n), err
}

// holds describes the contents of the token.
func (e *Explanation) holds() []string {
	var holds []string
	if e.Version != "" {
		holds = append(holds, "version "+e.Version)
	}
	if e.Packer != "" {
		key := e.PrimaryKey
		if e.key.Kind() == KindString {
			key = strconv.Quote(key) // no text of a token moves a terminal's cursor
		}
		holds = append(holds, fmt.Sprintf("primary key %s (%s)", key, e.Packer))
	}
	if e.Created != nil {
		age := "in the future"
		if at := e.Created; !at.After(e.now) {
			age = roundDuration(e.now.Sub(*at).Truncate(time.Second)) + " ago"
		}
		holds = append(holds, fmt.Sprintf("made at %s, %s", e.Created.Format(time.RFC3339), age))
	}
	if e.Expires != nil && e.Expires.After(e.now) {
		holds = append(holds, "good for another "+roundDuration(e.Expires.Sub(e.now).Truncate(time.Second)))
	}
	return holds
}

// quotedKey returns a key for a sentence.
func quotedKey(pk PrimaryKey) string {
	if pk.Kind() == KindString {
		return strconv.Quote(pk.String())
	}
	return pk.String()
}
