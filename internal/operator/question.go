package operator

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"time"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// question is what there is to explain.
type question struct {
	text   string // a token or a link
	at     time.Time
	scopes []string        // that the token may be for
	user   *userstore.User // the user that the token should belong to, or nil
	chosen *configured
	others []*configured // handlers with whose settings the token may have been made
	site   string        // that a session may be for; empty for those of the configuration
}

// explained is an explanation, and whether it may be wrong because the scope
// that is expected isn't known.
type explained struct {
	*token.Explanation
	openScope bool
	otherUser bool // the token belongs to another user than question.user

	credential *credentialExplanation // nil for a token
}

// isRejected reports whether the credential is invalid, or belongs to another user
// than given.
func (e *explained) isRejected(of *userstore.User) bool {
	if e.credential != nil {
		return !e.credential.isValid() || !e.credential.isOf(of)
	}
	return e.Reason != 0 || e.otherUser
}

// explain answers a question.
func (i *issuer) explain(ctx context.Context, q question) (explained, error) {
	text, u, isLink := i.cutToken(q.text)
	damage := ""
	if !isLink {
		text, damage, isLink = i.cutDamaged(q.text)
	}
	want := token.Expectation{Now: q.at}
	var err error
	if want.Scope, err = i.expectedScope(u); err != nil && len(q.scopes) > 0 {
		want.Scope, err = q.scopes[0], nil
	}
	openScope := err != nil
	explanation, err := i.tokens.Explain(text, want, q.candidates(i, u), i.row(ctx))
	if err != nil {
		return explained{}, err
	}
	if err := i.addRevoked(ctx, explanation, text, want); err != nil {
		return explained{}, err
	}
	e := explained{Explanation: explanation}
	if e.Reason != 0 && !e.Authentic {
		if e.credential, err = i.explainOther(ctx, text, isLink, &q); e.credential != nil || err != nil {
			return e, err
		}
		if !isLink {
			i.addRecognized(&e, q.text)
			if err := i.addHash(ctx, &e, text, &q); err != nil {
				return e, err
			}
		}
	}
	i.addOtherHandler(ctx, &e, text, u, &q)
	e.addDamage(damage)
	q.addHost(&e, u)
	i.addUser(ctx, &e, &q)
	if u != nil && !isLink {
		e.setReason(token.Missing)
	}
	e.Findings = slices.DeleteFunc(e.Findings, func(f token.Finding) bool { return f.Cause == token.CauseURL && len(e.Findings) > 1 })
	// A verdict that doesn't depend on the scope is certain without it.
	e.openScope = openScope && (e.Reason == 0 || e.Reason == token.BadSignature || e.Reason == token.Revoked)
	return e, nil
}

// explainOther explains a text that is a credential other than a token, or returns
// nil.
func (i *issuer) explainOther(ctx context.Context, text string, isLink bool, q *question) (*credentialExplanation, error) {
	read, isSession := i.readSession(text, q.at)
	if read.isSigned() {
		return i.explainSession(ctx, read, q)
	}
	if !isLink {
		if e, err := i.explainCredential(ctx, q); e != nil || err != nil {
			return e, err
		}
	}
	if isSession {
		return read.explainForm(q), nil
	}
	return nil, nil
}

// row looks users up for an explanation.
func (i *issuer) row(ctx context.Context) token.Lookup {
	return func(pk token.PrimaryKey) (*token.Row, error) {
		user, err := i.users.Lookup(ctx, pk)
		switch {
		case errors.Is(err, userstore.ErrNotFound):
			return nil, nil
		case err != nil:
			return nil, err
		}
		return &token.Row{User: user.User, Active: user.IsActive}, nil
	}
}

// setReason changes the verdict.
func (e *explained) setReason(reason token.Reason) {
	e.Reason, e.Verdict, e.Summary = reason, reason.String(), reason.Error()
}

// addRevoked adds whether an otherwise valid token was revoked.
func (i *issuer) addRevoked(ctx context.Context, e *token.Explanation, text string, want token.Expectation) error {
	if e.Reason != 0 {
		return nil //nolint:nilerr // a Reason is an error, but this one is explained
	}
	parsed, err := i.tokens.Parse(text, want)
	if err != nil {
		return fmt.Errorf("reading the token again: %w", err) // unreachable: it has been judged valid
	}
	user, err := i.users.Lookup(ctx, parsed.PrimaryKey())
	if err != nil {
		return fmt.Errorf("looking for tokens that were ended: %w", err)
	}
	if created, _ := parsed.Created(); !user.IsRevoked(parsed.Fingerprint(), created) {
		return nil
	}
	(&explained{Explanation: e}).setReason(token.Revoked)
	e.Findings = slices.Insert(e.Findings, 0, token.Finding{
		Cause: causeRevoked, Certainty: token.Certain,
		Text:   "it was ended before its time, by an operator",
		Remedy: "send a new link",
	})
	return nil
}

// causeRevoked is not of the token itself.
const causeRevoked token.Cause = "revoked"

// candidates returns the settings that the token may have been made with.
func (q *question) candidates(i *issuer, u *url.URL) token.ExplainCandidates {
	c := token.ExplainCandidates{Scopes: slices.Clone(q.scopes), Packers: make(map[string]token.Packer), ParameterName: i.Issues.TokenName}
	if q.user != nil {
		c.User = q.user.PrimaryKey
	}
	for _, other := range q.others {
		if scope, err := other.expectedScope(u); err == nil && scope != "" {
			c.Scopes = append(c.Scopes, scope)
		}
		// The secrets of another handler may be missing here: skip that handler.
		settings, err := other.Settings()
		if err != nil {
			continue
		}
		c.SecretKeys = append(append(c.SecretKeys, settings.SecretKey), settings.SecretKeyFallbacks...)
		c.Keys = append(c.Keys, settings.Key)
		if packer := packerOf(settings); packer != nil && settings.Packer != "" {
			c.Packers[settings.Packer] = packer
		}
		if settings.PrimaryKeyField != "" {
			c.PrimaryKeyFields = append(c.PrimaryKeyFields, settings.PrimaryKeyField)
		}
		if settings.Salt != "" {
			c.Salts = append(c.Salts, settings.Salt)
		}
		if settings.Iterations > 0 {
			c.Iterations = append(c.Iterations, settings.Iterations)
		}
	}
	return c
}
