package page

import (
	"net/http"
	"strings"
)

// longestTag and mostRanges bound the work that a client's Accept-Language makes.
// Browsers send less than ten ranges, and RFC 5646, section 4.4.1, expects tags of
// at most 35 characters.
const (
	longestTag = 35
	mostRanges = 32
)

// Language returns the language of pages and mails for a client: the configured
// language that Accept-Language prefers. The language has every text.
func (p *Pages) Language(r *http.Request) *Language {
	if l := preferredLanguage(p.languages, r.Header["Accept-Language"]); l.isComplete() {
		return l
	}
	return p.english
}

// preferredLanguage chooses from the values of Accept-Language (RFC 9110, section
// 12.5.4) by lookup (RFC 4647, section 3.4). The first of the languages is for
// clients that accept none of them.
func preferredLanguage(languages []*Language, accepted []string) *Language {
	best, bestWeight, ranges := languages[0], 0.0, 0
	if len(languages) == 1 {
		return best
	}
	for _, value := range accepted {
		for part := range strings.SplitSeq(value, ",") {
			if ranges++; ranges > mostRanges {
				return best
			}
			tag, parameters, _ := strings.Cut(part, ";")
			weight := weightOf(parameters)
			if !(weight > bestWeight) { // nor is a weight that isn't a number
				continue
			}
			if found := lookup(languages, strings.TrimSpace(tag)); found != nil {
				best, bestWeight = found, weight
			}
		}
	}
	return best
}

// lookup returns the language of a range: the most specific one that the range is a
// variety of, or else a variety of the same language; nil if there is none.
func lookup(languages []*Language, wanted string) *Language {
	if wanted == "" || len(wanted) > longestTag {
		return nil
	}
	primary := ""
	for tag := range widening(wanted) {
		for _, l := range languages {
			if strings.EqualFold(l.tag, tag) {
				return l
			}
		}
		primary = tag
	}
	for _, l := range languages {
		if isWithin(l.tag, primary) {
			return l
		}
	}
	return nil
}

// isWithin reports whether a tag is that of a language or of a variety of it.
func isWithin(tag, language string) bool {
	return len(tag) >= len(language) && strings.EqualFold(tag[:len(language)], language) &&
		(len(tag) == len(language) || tag[len(language)] == '-')
}

// widening yields a tag, and then the tags of ever more languages that it is a
// variety of: zh-Hant-TW, zh-Hant, zh. A single letter goes with what follows it.
func widening(tag string) func(yield func(tag string) bool) {
	return func(yield func(tag string) bool) {
		for yield(tag) {
			cut := strings.LastIndexByte(tag, '-')
			if cut >= 2 && tag[cut-2] == '-' {
				cut -= 2
			}
			if cut <= 0 {
				return
			}
			tag = tag[:cut]
		}
	}
}
