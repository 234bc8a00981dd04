// Package nearest finds the name that a misspelled word was probably meant to
// be.
package nearest

import (
	"slices"
	"strings"
)

// Name returns the name of which word is most probably a misspelling, or "" if
// none is similar. Case, dashes for underscores, and the prefix of
// django-sesame's settings (SESAME_MAX_AGE for max_age) are ignored. A word
// that is part of exactly one name matches that name.
func Name(word string, names []string) string {
	word = normalize(word)
	best := within(word, names, allowed(word))
	if best == "" {
		return only(word, names)
	}
	return best
}

// Close is Name for words that differ in one letter only, or in two swapped
// neighbors.
func Close(word string, names []string) string { return within(normalize(word), names, 1) }

// within returns the nearest name that differs from a word in at most limit
// letters, or "".
func within(word string, names []string, most int) string {
	best, bestDistance := "", most+1
	for _, name := range slices.Sorted(slices.Values(names)) {
		if d := distance(word, normalize(name), bestDistance); d < bestDistance {
			best, bestDistance = name, d
		}
	}
	return best
}

// only returns the one name that contains the word, as query_timeout contains
// timeout, or that the word contains, as cookie_domain contains domain; "" if
// there are several.
func only(word string, names []string) string {
	const shortest = 4
	found := ""
	for _, name := range names {
		known := normalize(name)
		isPart := len(word) >= shortest && (strings.Contains(known, word) ||
			len(word) > shortest && strings.Contains(strings.ReplaceAll(known, "_", ""), strings.ReplaceAll(word, "_", "")))
		hasPart := len(known) >= shortest && strings.Contains("_"+word+"_", "_"+known+"_")
		switch {
		case !isPart && !hasPart:
		case found != "":
			return ""
		default:
			found = name
		}
	}
	return found
}

// Hint returns "; did you mean NAME?" for the nearest name, or "".
func Hint(word string, names []string) string {
	if name := Name(word, names); name != "" {
		return "; did you mean " + name + "?"
	}
	return ""
}

// allowed returns how many letters may differ: a third of the word, at least
// one.
func allowed(word string) int { return max(1, len(word)/3) }

func normalize(name string) string {
	name = strings.ReplaceAll(strings.ToLower(name), "-", "_")
	return strings.TrimPrefix(name, "sesame_")
}

// longest limits the words that are compared: the work is quadratic, and no
// option has a longer name.
const longest = 64

// distance is the optimal string alignment distance of two words: how many
// letters to insert, delete, replace or swap with their neighbor. It returns at
// least limit for words that are further apart.
func distance(a, b string, limit int) int {
	if len(a) > longest || len(b) > longest || max(len(a), len(b))-min(len(a), len(b)) >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, last, row = last, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
