package operator

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/caddy-sesame/caddy-sesame/django/password"
	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// The causes that a password hash tells.
const (
	causeUnusablePassword token.Cause = "unusable_password"
	causeUnsupportedHash  token.Cause = "unsupported_hash"
	causeOldHash          token.Cause = "old_hash"
	causeOtherHash        token.Cause = "other_hash"
	causeSecondFactor     token.Cause = "second_factor"
)

// unusablePassword matches the value that Django stores for users without a
// password.
var unusablePassword = regexp.MustCompile(`^![A-Za-z0-9]{30,}$`)

// addHash explains a text that is a password hash from the column password. A hash
// is no credential: the verdict stays.
func (i *issuer) addHash(ctx context.Context, e *explained, text string, q *question) error {
	text = strings.TrimSpace(text)
	algorithm, err := password.Identify(text)
	isUnusable := errors.Is(err, password.ErrUnusable) && unusablePassword.MatchString(text)
	if err != nil && !isUnusable || algorithm == password.UnsaltedMD5 && !strings.HasPrefix(text, "md5$$") {
		return nil //nolint:nilerr // it is none
	}
	what := fmt.Sprintf("it is no token: it is a password hash of Django's hasher %s, as the column password of a user holds it", algorithm)
	if isUnusable {
		what = "it is no token: it says that a user has no usable password, as the column password holds it"
	}
	e.Findings = []token.Finding{{Cause: token.CauseNotAToken, Certainty: token.Certain, Text: what}}
	if q.user != nil {
		e.addHashOf(text, q)
	}
	if isUnusable {
		e.Findings = append(e.Findings, token.Finding{
			Cause: causeUnusablePassword, Certainty: token.Certain,
			Text:   "no password is accepted for it, neither here nor in Django",
			Remedy: "have the user set a password in Django, or log in by other means",
		})
		return nil
	}
	return i.addPassword(ctx, e, text, q)
}

// addHashOf says whether the hash is the one of the user in the question.
func (e *explained) addHashOf(text string, q *question) {
	if q.user.Password != nil && *q.user.Password == text {
		return
	}
	e.otherUser = true
	e.Findings = append(e.Findings, token.Finding{
		Cause: causeOtherHash, Certainty: token.Certain,
		Text:   fmt.Sprintf("it isn't the hash of %s: it is another user's, or the password has changed", describeUser(q.user)),
		Remedy: "read the column password anew",
	})
}

// addPassword says whether the option password accepts the password of the hash.
func (i *issuer) addPassword(ctx context.Context, e *explained, text string, q *question) error {
	if i.Passwords == nil {
		return nil
	}
	hashers, rejectsSecondFactor, err := i.Passwords()
	if err != nil {
		return err
	}
	isOld, err := hashers.MustUpdate(text)
	switch {
	case err != nil:
		e.Findings = append(e.Findings, token.Finding{
			Cause: causeUnsupportedHash, Certainty: token.Certain,
			Text:   "option password rejects the user's password: " + err.Error(),
			Remedy: "compare hashers with PASSWORD_HASHERS; Django replaces the hash when the user logs in there or sets a password",
		})
	case isOld:
		e.Findings = append(e.Findings, token.Finding{
			Cause: causeOldHash, Certainty: token.Certain,
			Text:   "option password checks it. Django would replace it at the next login, as would upgrade_hash, which ends the user's sessions and tokens",
			Remedy: "compare hashers and django_version with Django's, if it is new",
		})
	}
	if !rejectsSecondFactor || q.user == nil {
		return nil
	}
	return i.addSecondFactor(ctx, e, q)
}

// addSecondFactor says that the right password isn't enough for a user.
func (i *issuer) addSecondFactor(ctx context.Context, e *explained, q *question) error {
	store, err := i.openFor(ctx, func(needs *userstore.Needs) { needs.SecondFactors = true })
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }() // nothing depends on it any more
	user, err := store.Lookup(ctx, q.user.PrimaryKey)
	if err != nil {
		return fmt.Errorf("looking for a second factor of the user: %w", err)
	}
	if user.HasSecondFactor() {
		e.Findings = append(e.Findings, token.Finding{
			Cause: causeSecondFactor, Certainty: token.Certain,
			Text:   fmt.Sprintf("%s has a second factor in Django, so that option password rejects even the right password", describeUser(user)),
			Remedy: "use Django's session or an API token; second_factor ignore would let the user in by the password alone",
		})
	}
	return nil
}
