package operator

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// The causes that the token alone doesn't tell.
const (
	causeSession      token.Cause = "session_cookie"
	causeOtherHandler token.Cause = "other_handler"
	causeOtherHost    token.Cause = "other_host"
)

// mostOtherHandlers is how many other handlers are asked about a token.
const mostOtherHandlers = 8

// addOtherHandler looks for another handler of the configuration that accepts the
// rejected token.
func (i *issuer) addOtherHandler(ctx context.Context, e *explained, text string, u *url.URL, q *question) {
	if e.Reason == 0 || e.Reason == token.Expired || e.Reason == token.Revoked || q.chosen == nil {
		return
	}
	others := distinct(q.others, issueAlike)
	others = slices.DeleteFunc(others, func(c *configured) bool { return issueAlike(c, q.chosen) })
	for _, other := range others[:min(len(others), mostOtherHandlers)] {
		if !other.accepts(ctx, text, u, q) {
			continue
		}
		e.Findings = slices.Insert(e.Findings, 0, token.Finding{
			Cause: causeOtherHandler, Certainty: token.Certain,
			Text:   fmt.Sprintf("it is a token of another sesame handler, which accepts it: %s", other),
			Remedy: "use the link at the site that it was made for, or give both handlers the same settings",
		})
		return
	}
}

// accepts reports whether a token is valid at this handler. Where its secrets
// or its database can't be reached, it isn't.
func (c *configured) accepts(ctx context.Context, text string, u *url.URL, q *question) bool {
	i, closeStore, err := openIssuer(ctx, c.Handler, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = closeStore() }() // nothing depends on it any more
	scopes := slices.Clone(q.scopes)
	if scope, err := i.expectedScope(u); err == nil {
		scopes = append(scopes, scope)
	}
	for _, scope := range scopes {
		parsed, err := i.tokens.Parse(text, token.Expectation{Scope: scope, Now: q.at})
		if err != nil {
			continue
		}
		user, err := i.users.Lookup(ctx, parsed.PrimaryKey())
		if err == nil && user.IsActive && i.tokens.Verify(&parsed, user.User) == nil {
			return true
		}
	}
	return false
}

// addHost says that a link leads to no site of the configuration.
func (q *question) addHost(e *explained, u *url.URL) {
	if u == nil || q.chosen == nil || isServed(q.others, u) {
		return
	}
	e.Findings = append(e.Findings, token.Finding{
		Cause: causeOtherHost, Certainty: token.Certain,
		Text:   fmt.Sprintf("no site with sesame of this configuration serves the link's host %s; the token was judged by handler %s", u.Hostname(), q.chosen),
		Remedy: "compare the link's host with the sites of the configuration",
	})
}

// addDamage names the damage that a mail program did to a link that can still be
// read.
func (e *explained) addDamage(damage string) {
	if damage == "" {
		return
	}
	f := token.Finding{
		Cause: token.CausePercentEncoded, Certainty: token.Certain,
		Text:   "the link is damaged, and read all the same: the = behind the parameter's name is percent-encoded",
		Remedy: "encode the link once: see which program has encoded it again",
	}
	if damage == damagedHTML {
		f.Cause = token.CauseHTMLEscaped
		f.Text = "the link is damaged, and read all the same: &amp; stands in it for &, as in the source of a page or mail"
		f.Remedy = "escape the link once, and copy it from the displayed page"
	}
	e.Findings = append(e.Findings, f)
}

// addUser names the user of a token that belongs to another user than expected.
func (i *issuer) addUser(ctx context.Context, e *explained, q *question) {
	holder := e.Key()
	if q.user == nil || holder.IsZero() || holder == q.user.PrimaryKey {
		return
	}
	if slices.ContainsFunc(e.Findings, func(f token.Finding) bool { return f.Cause == token.CauseOtherUser }) {
		return // the token is the user's, whose key has changed
	}
	whose := "user " + holder.String()
	if user, err := i.users.Lookup(ctx, holder); err == nil {
		whose = describeUser(user)
	}
	certainty := token.Certain
	verb := "it is the token of"
	if !e.Authentic {
		certainty, verb = token.Possible, "the primary key in it is that of"
	}
	e.otherUser = true
	e.Findings = slices.Insert(e.Findings, 0, token.Finding{
		Cause: token.CauseOtherUser, Certainty: certainty,
		Text:   fmt.Sprintf("%s %s, not of %s", verb, whose, describeUser(q.user)),
		Remedy: "send the user a link of their own, and end this one if the wrong person has it",
	})
}

// describeUser names a user for an operator.
func describeUser(user *userstore.User) string {
	if user.Username == "" {
		return "user " + user.ID()
	}
	return fmt.Sprintf("%q (primary key %s)", user.Username, user.ID())
}
