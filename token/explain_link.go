package token

import (
	"fmt"
	"net/url"
	"strings"
	"unicode"
)

// maxDecodings is how often a text is decoded: redirects and mail programs
// encode texts that are already encoded.
const maxDecodings = 3

// note returns a copy of the repair with one more finding.
func (r repair) note(cause Cause, text string) repair {
	findings := make([]Finding, len(r.findings), len(r.findings)+1)
	copy(findings, r.findings)
	r.findings = append(findings, Finding{Cause: cause, Certainty: Certain, Text: text})
	return r
}

// decodings returns the input without the encodings of mail programs, HTML and
// URLs, the least changed first.
func decodings(given string) []repair {
	var all []repair
	for _, r := range fromMail(fromHeader(repair{text: given})) {
		all = append(all, r)
		for range maxDecodings {
			decoded, err := url.PathUnescape(r.text)
			if err != nil || decoded == r.text {
				break
			}
			if !r.has(CausePercentEncoded) {
				r = r.note(CausePercentEncoded, "percent-encoded, as %3D: it wasn't decoded, or was encoded twice")
			}
			r.text = decoded
			all = append(all, r)
		}
	}
	return all
}

func (r repair) has(cause Cause) bool {
	for _, f := range r.findings {
		if f.Cause == cause {
			return true
		}
	}
	return false
}

// fromHeader returns the value of a header field.
func fromHeader(r repair) repair {
	text := strings.TrimSpace(r.text)
	for _, name := range []string{"authorization:", "cookie:"} {
		if len(text) > len(name) && strings.EqualFold(text[:len(name)], name) {
			text = strings.TrimSpace(text[len(name):])
		}
	}
	const scheme = "bearer"
	if len(text) > len(scheme) && strings.EqualFold(text[:len(scheme)], scheme) && unicode.IsSpace(rune(text[len(scheme)])) {
		text = strings.TrimSpace(text[len(scheme):])
	}
	if text == strings.TrimSpace(r.text) {
		return r
	}
	r.text = text
	return r.note(CauseHeader, "a header field was given, not the token in it alone")
}

// fromMail undoes encodings in the source of a mail. If the encoding is uncertain,
// the input is returned, too.
func fromMail(r repair) []repair {
	if lines := strings.Split(r.text, "\n"); len(lines) > 1 {
		quoted := false
		for i, line := range lines {
			if trimmed := strings.TrimLeft(line, "> "); strings.HasPrefix(line, ">") {
				lines[i], quoted = trimmed, true
			}
		}
		if quoted {
			r.text = strings.Join(lines, "\n")
			r = r.note(CauseWhitespace, "it is broken into lines, with the > of a quoted mail in front of them")
		}
	}
	all := []repair{r}
	softBreaks := strings.NewReplacer("=\r\n", "", "=\n", "")
	decoded := strings.NewReplacer("=3D", "=", "=3d", "=").Replace(softBreaks.Replace(r.text))
	if decoded != r.text {
		decodedRepair := r
		decodedRepair.text = decoded
		decodedRepair = decodedRepair.note(CauseQuotedPrintable, "it was copied from the source of a mail in quoted-printable, where =3D stands for =, and = at the end of a line for no line break")
		all = []repair{decodedRepair, r}
	}
	html := strings.NewReplacer("&amp;", "&", "&#38;", "&", "&#x26;", "&", "&#61;", "=", "&#x3D;", "=", "&#x3d;", "=", "&equals;", "=", "&lt;", "<", "&gt;", ">", "&quot;", `"`)
	var withHTML []repair
	for _, r := range all {
		if text := html.Replace(r.text); text != r.text {
			r.text = text
			r = r.note(CauseHTMLEscaped, "escaped for HTML, as &amp; for &: the link was escaped twice, or copied from the source of a page or mail")
		}
		withHTML = append(withHTML, r)
	}
	return withHTML
}

// parameter is a part of a query.
type parameter struct {
	separator   byte // in front of it
	name, value string
	hasValue    bool
}

// parameters splits a query, also if a program has appended parameters with a
// second question mark.
func parameters(query string) []parameter {
	var all []parameter
	separator := byte('?')
	for query != "" {
		part, rest := query, ""
		next := byte(0)
		if end := strings.IndexAny(query, "&?;"); end >= 0 {
			part, next, rest = query[:end], query[end], query[end+1:]
		}
		p := parameter{separator: separator}
		p.name, p.value, p.hasValue = strings.Cut(part, "=")
		all = append(all, p)
		query, separator = rest, next
	}
	return all
}

// unwrap returns the values in a URL, a query, or a parameter, the most likely
// tokens first. A text that may be none of these is also returned unchanged.
// name is the name of the parameter with the token.
func unwrap(r repair, name string) []repair {
	text := strings.TrimSpace(r.text)
	before, query, hasQuery := strings.Cut(text, "?")
	before = before[strings.LastIndexFunc(before, unicode.IsSpace)+1:]
	_, afterScheme, isURL := strings.Cut(before, "://")
	if !hasQuery {
		query = text
	}
	query, fragment, _ := strings.Cut(query, "#")
	in := r.note(CauseURL, "a URL or a query was given, not the token in it alone")
	var named, others []repair
	if !isURL && len(before) >= minWord && hasTokenCharacters(before) && before != text {
		alone := r
		alone.text = before
		named = append(named, alone.note(CauseAppended, "parameters were appended to it, such as utm_source"))
	}
	fromQuery, fromOthers := valuesOf(query, name, r, in)
	named, others = append(named, fromQuery...), append(others, fromOthers...)
	if fragment != "" {
		value := in
		value.text = strings.TrimPrefix(fragment, name+"=")
		others = append(others, value.note(CauseParameterName, "the token is behind #, which browsers don't send; it belongs in the parameter "+name))
	}
	if hasQuery && len(named)+len(others) > 0 {
		return append(named, others...)
	}
	if isURL {
		value := in
		value.text = afterScheme[strings.LastIndexByte(afterScheme, '/')+1:]
		if len(value.text) < minWord {
			value.text = "" // a part of the path, not a token
		}
		return append(append(named, others...), value.note(CauseParameterName, "the token is in the path of the URL, and is taken from the parameter "+name+" here"))
	}
	return append(append(named, others...), r)
}

// valuesOf returns the values in a query: those of the parameter with the token,
// and others. r is the repair with the query's text, and values are copies of in.
func valuesOf(query, name string, r, in repair) (named, others []repair) {
	all := parameters(query)
	for i, p := range all {
		if rest, ok := strings.CutPrefix(p.name, "amp;"); ok {
			p.name = rest // the rest of &amp; in HTML, half decoded by the first of two programs
		}
		if i == 0 && !p.hasValue && len(p.name) >= minWord && p.name != query && hasTokenCharacters(p.name) {
			alone := r
			alone.text = p.name
			named = append(named, alone.note(CauseAppended, "parameters were appended to it, such as utm_source"))
		}
		if !p.hasValue || p.value == "" {
			continue
		}
		value := in
		value.text = p.value
		if i+1 < len(all) && all[i+1].separator == '?' {
			value = value.note(CauseAppended, "parameters were appended to the link with ?, as if it had none")
		}
		switch {
		case p.name == name, p.name == "":
			named = append(named, value)
		case strings.EqualFold(p.name, name):
			named = append(named, value.note(CauseParameterName, fmt.Sprintf("the parameter is %s in the link, and %s here: capital letters matter", shownName(p.name), name)))
		default:
			others = append(others, value.note(CauseParameterName, fmt.Sprintf("the token is in the parameter %s of the link, and is taken from %s here (token_name)", shownName(p.name), name)))
		}
	}
	return named, others
}

// shownName returns a parameter's name for an explanation: a longer one may
// contain a credential.
func shownName(name string) string {
	const longest = 24
	if len(name) > longest {
		return "of another name"
	}
	return fmt.Sprintf("%q", name)
}
