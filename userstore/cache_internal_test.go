package userstore

import (
	"strings"
	"testing"

	"github.com/caddy-sesame/caddy-sesame/token"
)

// TestSizeOfAKeptRowCountsItsTexts, so that long ones take the room of several rows.
func TestSizeOfAKeptRowCountsItsTexts(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 1000)
	empty := new(User).size()
	for name, u := range map[string]*User{
		"key":               {PrimaryKey: token.StringKey(long)},
		"id":                {id: long},
		"username":          {Username: long},
		"last_login":        {lastLogin: nullable{text: long, valid: true}},
		"password":          {User: token.User{Password: &long}},
		"email":             {User: token.User{Email: &long}},
		"extra":             {extra: []nullable{{text: long[:400], valid: true}, {text: long[400:], valid: true}}},
		"groups":            {groups: nameList{text: long}},
		"permissions":       {permissions: hexNames(long)},
		"group permissions": {groupPermissions: hexNames(long)},
	} {
		if got := u.size(); got < empty+uint64(len(long)) || got > empty+2*uint64(len(long)) {
			t.Errorf("%s: a row with a text of %d bytes counts for %d, and an empty one for %d", name, len(long), got, empty)
		}
	}
}
