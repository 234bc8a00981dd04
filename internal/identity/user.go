package identity

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Placeholder starts the placeholders of the user.
const Placeholder = "http.auth.user."

// userVar is the variable of a request that holds its user.
const userVar = "sesame.user"

// UserOf returns the user that an earlier handler has proven for the request.
func UserOf(r *http.Request) (*userstore.User, bool) {
	user, ok := caddyhttp.GetVar(r.Context(), userVar).(*userstore.User)
	return user, ok
}

// SetUser replaces the user of a request with a newer row of the same user.
func SetUser(r *http.Request, user *userstore.User) {
	caddyhttp.SetVar(r.Context(), userVar, user)
}

// variables are those of a request. Each look-up of them in a context takes as long
// as setting a header field, so that a function that needs several gets them once.
type variables = map[string]any

// setUserPlaceholders provides {http.auth.user.*}. If basic_auth came before, it
// replaces the id that basic_auth has set, which would be read first.
func setUserPlaceholders(vars variables, repl *caddy.Replacer, user *userstore.User) {
	_, isProvided := vars[userVar].(*userstore.User)
	if _, isSet := repl.Get(Placeholder + "id"); isSet {
		repl.Set(Placeholder+"id", user.ID())
	}
	vars[userVar] = user
	if isProvided {
		return
	}
	repl.Map(func(key string) (any, bool) {
		column, ok := strings.CutPrefix(key, Placeholder)
		if !ok {
			return nil, false
		}
		user, ok := vars[userVar].(*userstore.User)
		if !ok {
			return nil, false
		}
		return Column(user, column)
	})
}

// Column returns the value of {http.auth.user.<column>}. A table without a
// column of user names has the primary key in its place.
func Column(user *userstore.User, column string) (string, bool) {
	if column == "id" {
		return user.ID(), true
	}
	value, ok := user.Column(column)
	if !ok && column == "username" {
		return user.ID(), true
	}
	return value, ok
}

// permissionsColumn is the name of the list of permissions among the user's
// columns.
const permissionsColumn = "permissions"

// userList is a list that the store reads of a user.
func userList(user *userstore.User, column string) []string {
	if column == permissionsColumn {
		return user.Permissions()
	}
	return user.Groups()
}
