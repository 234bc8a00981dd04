package token

import (
	"cmp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// repair is a text that may be the token in the input, and the findings about
// how it was obtained.
type repair struct {
	text     string
	findings []Finding
}

// The limits of the input in which a token is searched.
const (
	maxGiven   = 16 << 10 // bytes
	maxRepairs = 48
)

// explainRejected finds out why a token is rejected.
func (x *explainer) explainRejected(token string) {
	if strings.TrimFunc(token, isBlank) == "" {
		x.add(Finding{Cause: CauseEmpty, Certainty: Certain, Text: "there is no token: the input is empty"})
		return
	}
	var best *analysis
	var bestOf repair
	given := repairs(token, cmp.Or(x.candidates.ParameterName, "sesame"))
	for _, repaired := range given {
		a := x.analyze(repaired.text)
		if a == nil {
			continue
		}
		isBetter := best == nil || a.sense() > best.sense() ||
			a.sense() == best.sense() && bestOf.isPart() && !repaired.isPart()
		if isBetter {
			best, bestOf = a, repaired
		}
	}
	if best == nil || !best.authentic && !best.fits {
		if kind, ok := otherKindIn(token, given); ok {
			x.add(kind)
			return
		}
	}
	if best == nil {
		x.explainNoToken(token, given)
		return
	}
	x.Incomplete = x.Incomplete || best.incomplete
	x.Authentic = best.authentic
	if best.hasReading {
		x.hold(best.reading)
	} else {
		x.Version = best.version.String()
	}
	x.add(bestOf.findings...)
	x.add(best.findings...)
	if best.hasReading {
		certainty := Possible
		if best.authentic {
			certainty = Certain
		}
		x.addFuture(certainty)
	}
}

// isPart reports whether the text is only a part of the input.
func (r repair) isPart() bool {
	return r.has(CauseTrailing) || r.has(CauseLeading) || r.has(CauseForeignCharacters)
}

// otherKindIn recognizes another kind of text in the input, which isn't a
// token.
func otherKindIn(given string, found []repair) (Finding, bool) {
	if kind, ok := otherKindOf(given); ok {
		return kind, true
	}
	for _, r := range found {
		// Other parts of a URL were not meant to be a token.
		if kind, ok := otherKindOf(r.text); ok && !r.has(CauseParameterName) {
			return kind, true
		}
	}
	return Finding{}, false
}

// explainNoToken explains an input in which no repair has the form of a token.
func (x *explainer) explainNoToken(token string, given []repair) {
	if text := strings.TrimSpace(token); len(text) < minV2Size && isBase64URL(text) {
		x.add(Finding{Cause: CauseCutShort, Certainty: Likely, Text: "shorter than any token: all but its first characters are missing"})
		return
	}
	for _, r := range given {
		if r.has(CauseURL) {
			x.add(Finding{Cause: CauseNotAToken, Certainty: Certain, Text: "a URL or a query was given, and no token is in it"})
			return
		}
	}
	x.add(Finding{Cause: CauseNotAToken, Certainty: Likely, Text: "it doesn't have the form of a token: letters, digits, - and _, and in v1 colons"})
}

// analysis has the facts about a text with the form of a token.
type analysis struct {
	version    Version
	findings   []Finding
	authentic  bool
	incomplete bool
	fits       bool // whether it has the parts of a token of an existing user
	hasReading bool // whether it has a plausible reading
	reading    reading
}

// sense ranks how plausible a text is as a token: highest if the whole text is one,
// then if a part is missing, or other text follows.
func (a *analysis) sense() int {
	switch {
	case a.authentic && !a.has(CauseCutShort) && !a.has(CauseTrailing):
		return 4
	case a.authentic:
		return 3
	case a.hasReading && isPlausible(a.reading.pk):
		return 2
	case a.hasReading:
		return 1
	default:
		return 0
	}
}

// analyze reads a text as a token of the version that its form suggests, or
// returns nil if it has no such form.
func (x *explainer) analyze(text string) *analysis {
	if len(text) > maxTokenSize {
		return nil
	}
	if strings.ContainsRune(text, ':') {
		return x.analyzeV1(text)
	}
	if !isV2(text) {
		return nil
	}
	return x.analyzeV2(text)
}

// repairs returns the possible tokens in the input, first the input itself. The
// findings of each describe the damage. name is the name of the query parameter
// with the token in links.
func repairs(given, name string) []repair {
	if len(given) > maxGiven {
		given = given[:maxGiven]
	}
	if hasTokenCharacters(given) {
		return []repair{{text: given}}
	}
	var all []repair
	type key struct {
		text   string
		isPart bool
	}
	seen := make(map[key]bool)
	for _, decoded := range decodings(given) {
		for _, value := range unwrap(decoded, name) {
			for _, r := range cleaned(value) {
				if k := (key{r.text, r.isPart()}); !seen[k] {
					seen[k] = true
					all = append(all, r)
				}
			}
		}
	}
	return all[:min(len(all), maxRepairs)]
}

// hasTokenCharacters reports whether s has only characters of tokens.
func hasTokenCharacters(s string) bool {
	return isBase64URL(strings.ReplaceAll(s, ":", ""))
}

// cleaned undoes changes by mail programs, browsers and users. If a change can
// be undone in several ways, all are returned.
func cleaned(r repair) []repair {
	words := strings.FieldsFunc(r.text, isBlank)
	if joined := strings.Join(words, ""); joined != r.text {
		r.text = joined
		r = r.note(CauseWhitespace, "there are spaces, line breaks or invisible characters in it or around it")
	}
	all := stripped(r)
	for _, word := range words {
		if len(words) > 1 && len(word) >= minWord {
			all = append(all, stripped(repair{text: word, findings: r.findings})...)
		}
	}
	return all
}

// minWord is the minimum length of a word in a text that may be the token.
const minWord = 14

// stripped removes characters at both ends that belong to no token, and undoes
// changes in between.
func stripped(r repair) []repair {
	r.findings = slices.Clip(r.findings)
	note := func(cause Cause, text string) {
		r.findings = append(r.findings, Finding{Cause: cause, Certainty: Certain, Text: text})
	}
	if trimmed := strings.TrimLeftFunc(r.text, isForeign); trimmed != r.text {
		r.text = trimmed
		note(CauseLeading, "characters that belong to no token precede it")
	}
	if trimmed := strings.TrimRightFunc(r.text, isForeign); trimmed != r.text {
		if strings.Trim(r.text[len(trimmed):], "=") == "" {
			note(CausePadding, "= follows the token: base64's padding, which tokens don't have")
		} else {
			note(CauseTrailing, "characters that belong to no token follow it, such as a full stop or a bracket from the text around the link")
		}
		r.text = trimmed
	}
	if r.text == "" {
		return []repair{r}
	}
	var others []repair
	if first := strings.IndexFunc(r.text, isForeign); first >= minWord && hasTokenCharacters(r.text[:first]) {
		others = append(others, repair{text: r.text[:first], findings: append(slices.Clip(r.findings), Finding{
			Cause: CauseTrailing, Certainty: Certain, Text: "other text follows it",
		})})
	}
	if cut := strings.TrimRight(r.text, "/"); cut != r.text {
		others = append(others, stripped(repair{text: cut, findings: append(r.findings, Finding{
			Cause: CauseTrailing, Certainty: Certain, Text: "a slash follows it",
		})})...)
	}
	if replaced := strings.NewReplacer("+", "-", "/", "_").Replace(r.text); replaced != r.text {
		r.text = replaced
		note(CauseStandardBase64, "+ or / is in it, where tokens have - or _: it was made, or changed, by another kind of base64")
	}
	if !strings.ContainsFunc(r.text, isDash) {
		return append(others, dropForeign(r)...)
	}
	note(CauseDash, "a dash is in it where tokens have hyphens: a word processor, or a mail program, has replaced them")
	one, two := r, r
	one.text = replaceDashes(r.text, "-")
	two.text = replaceDashes(r.text, "--")
	return append(append(others, dropForeign(one)...), dropForeign(two)...)
}

// dropForeign removes the remaining foreign characters, or the text before or
// after them.
func dropForeign(r repair) []repair {
	if hasTokenCharacters(r.text) {
		return []repair{r}
	}
	with := func(text string, cause Cause, what string) repair {
		return repair{text: text, findings: append(slices.Clip(r.findings), Finding{Cause: cause, Certainty: Certain, Text: what})}
	}
	var all []repair
	if first := strings.IndexFunc(r.text, isForeign); first >= minWord {
		all = append(all, with(r.text[:first], CauseTrailing, "other text follows it"))
	}
	if last := strings.LastIndexFunc(r.text, isForeign); len(r.text)-last > minWord {
		_, size := utf8.DecodeRuneInString(r.text[last:])
		all = append(all, with(r.text[last+size:], CauseLeading, "other text precedes it"))
	}
	r.text = strings.Map(func(c rune) rune {
		if isForeign(c) {
			return -1
		}
		return c
	}, r.text)
	r.findings = append(r.findings, Finding{
		Cause: CauseForeignCharacters, Certainty: Certain,
		Text: "it contains characters that no token has",
	})
	return append(all, r)
}

// isForeign reports whether neither tokens nor common replacements for their
// characters have the character.
func isForeign(c rune) bool {
	return c == utf8.RuneError || !hasTokenCharacters(string(c)) && !isDash(c) && c != '+' && c != '/'
}

// isBlank reports whether a character is invisible.
func isBlank(c rune) bool {
	return unicode.IsSpace(c) || unicode.IsControl(c) || unicode.Is(unicode.Cf, c)
}

// isDash reports whether a character looks like a hyphen.
func isDash(c rune) bool {
	return c != '-' && (unicode.Is(unicode.Pd, c) || c == '\u2212')
}

func replaceDashes(s, with string) string {
	var b strings.Builder
	for _, c := range s {
		if isDash(c) {
			b.WriteString(with)
		} else {
			b.WriteRune(c)
		}
	}
	return b.String()
}

// isCaseChanged reports whether a token has letters of one case only, and so
// many that it should have both.
func isCaseChanged(text string) bool {
	letters := 0
	for _, c := range text {
		if unicode.IsLetter(c) {
			letters++
		}
	}
	const enough = 12 // one of 4096 has one case by chance
	return letters >= enough && (text == strings.ToLower(text) || text == strings.ToUpper(text))
}
