package identity

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// TestLongAssertionsLoseTheirLongestClaims, with a warning, and no part of a claim. The
// claims that say who the user is stay, or there is no assertion.
func TestLongAssertionsLoseTheirLongestClaims(t *testing.T) {
	t.Parallel()
	public, key := newEd25519(t)
	every := []string{"fixed", "name", "twice"}
	for name, test := range map[string]struct {
		maxSize int64
		letters int      // of name
		want    []string // claims about the user
		err     string
	}{
		"short":              {0, 5, every, ""},
		"one is long":        {0, 2500, []string{"fixed", "name"}, ""},
		"two are long":       {0, 6500, []string{"fixed"}, ""},
		"the bound is large": {64_000, 6500, every, ""},
		"nothing fits":       {50, 5, nil, "without any claim of the user, and max_size is 50"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			logs, seen := observer.New(zapcore.WarnLevel)
			a := newRightsAssertions(t, AssertionConfig{Audience: []string{"app"}, Keys: []string{key}, MaxSize: test.maxSize, Claims: []AssertionClaim{
				{Name: "name", Value: strings.Repeat("a", test.letters)}, {Name: "twice", Value: strings.Repeat("a", 2*test.letters)}, {Name: "fixed", Value: "text"},
			}}, userstore.Config{})
			user := &userstore.User{PrimaryKey: token.IntKey(7)}
			var text string
			var err error
			for range 2 { // a warning comes once
				text, err = a.of(user, zap.New(logs))
				a.kept.InvalidateAll()
			}
			var warned []string
			for _, entry := range seen.All() {
				warned = append(warned, entry.ContextMap()["claim"].(string))
			}
			slices.Sort(warned)
			left := slices.DeleteFunc(slices.Clone(every), func(claim string) bool { return slices.Contains(test.want, claim) })
			if !slices.Equal(warned, left) {
				t.Errorf("warned of %q, want %q", warned, left)
			}
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Errorf("%v, want %q", err, test.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > a.maxSize {
				t.Errorf("the value has %d bytes, and may have %d", len(text), a.maxSize)
			}
			claims := signedClaims(t, text, public)
			for _, registered := range []string{"iss", "sub", "aud", "iat", "nbf", "exp"} {
				delete(claims, registered)
			}
			if got := slices.Sorted(maps.Keys(claims)); !slices.Equal(got, test.want) {
				t.Errorf("the claims are %q, want %q", got, test.want)
			}
		})
	}
}

// TestClaimsHaveTheApplicationsNamesOfGroups as header fields have.
func TestClaimsHaveTheApplicationsNamesOfGroups(t *testing.T) {
	t.Parallel()
	store := userstore.Config{Groups: newGroups()}
	groups := []string{"Editors, old", "admins", "readers"}
	for name, test := range map[string]struct {
		claim   AssertionClaim
		want    string
		leftOut int
	}{
		"as they are":      {AssertionClaim{}, `["Editors, old","admins","readers"]`, 0},
		"mapped":           {AssertionClaim{Map: []GroupMapping{{"Editors, old", "editors, new"}}}, `["editors, new"]`, 0},
		"two to one":       {AssertionClaim{Map: []GroupMapping{{"Editors, old", "x"}, {"readers", "x"}}}, `["x"]`, 0},
		"none":             {AssertionClaim{Map: []GroupMapping{{"nobody", "x"}}}, `[]`, 0},
		"the rest dropped": {AssertionClaim{Map: []GroupMapping{{"readers", "users"}}, Unmapped: "drop"}, `["users"]`, 0},
		"the rest kept":    {AssertionClaim{Map: []GroupMapping{{"readers", "admins"}}, Unmapped: "keep"}, `["Editors, old","admins"]`, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.claim.Name, test.claim.Value = "roles", "{http.auth.user.groups}"
			a, err := NewAssertions(&AssertionConfig{Audience: []string{"app"}, Claims: []AssertionClaim{test.claim}}, store)
			if err != nil {
				t.Fatal(err)
			}
			list, leftOut := a.claims[0].names.of(groups)
			got, err := json.Marshal(list)
			if err != nil || string(got) != test.want || leftOut != test.leftOut {
				t.Errorf("%s without %d, %v, want %s without %d", got, leftOut, err, test.want, test.leftOut)
			}
		})
	}
}

func TestOptionsOfClaimsThatCanNotBeRight(t *testing.T) {
	t.Parallel()
	store := userstore.Config{Groups: newGroups()}
	groups := "{http.auth.user.groups}"
	for part, claim := range map[string]AssertionClaim{
		`unmapped "no": it must be keep or drop`:     {Value: groups, Map: []GroupMapping{{"a", "b"}}, Unmapped: "no"},
		"unmapped is for names without a line":       {Value: groups, Unmapped: "keep"},
		`map "a": this group has a line already`:     {Value: groups, Map: []GroupMapping{{"a", "b"}, {"a", "c"}}},
		"map: a name is missing":                     {Value: groups, Map: []GroupMapping{{"", "b"}}},
		"map and unmapped are for a value that is":   {Value: "in " + groups, Map: []GroupMapping{{"a", "b"}}},
		"that is a list alone: {http.auth.user.grou": {Value: "{http.auth.user.id}", Unmapped: "drop"},
	} {
		claim.Name = "roles"
		_, err := NewAssertions(&AssertionConfig{Audience: []string{"app"}, Claims: []AssertionClaim{claim}}, store)
		if err == nil || !strings.HasPrefix(err.Error(), "assertion: claim roles: ") || !strings.Contains(err.Error(), part) {
			t.Errorf("%+v: %v, want %q", claim, err, part)
		}
	}
	for _, size := range []int64{-1, 64_001} {
		_, err := NewAssertions(&AssertionConfig{Audience: []string{"app"}, MaxSize: size}, store)
		if want := fmt.Sprintf("assertion: max_size %d: it must be at most 64000 bytes", size); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
