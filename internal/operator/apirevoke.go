package operator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/session"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// revokeRequest asks to end a token, a session, or all tokens and sessions of a user.
type revokeRequest struct {
	Token   string   `json:"token"`
	Session string   `json:"session"`
	User    userName `json:"user"`
	By      nameKind `json:"by"`
	Handler selector `json:"handler"`
}

// check returns the ID of the session to end, if that is asked for.
func (q *revokeRequest) check() (id session.ID, err error) {
	given := 0
	for _, what := range []string{q.Token, q.Session, string(q.User)} {
		if what != "" {
			given++
		}
	}
	if given != 1 {
		return id, errors.New("give the token to end, or the session with its ID, or the user all of whose tokens are to end")
	}
	if err := q.By.validate(); err != nil {
		return id, fmt.Errorf("by: %w", err)
	}
	if q.Session == "" {
		return id, nil
	}
	id, isID := session.ParseID(q.Session)
	if !isID {
		return id, errors.New("session: that is no ID of a session: it has 26 small letters and digits")
	}
	return id, nil
}

// revokeAnswer says what was ended.
type revokeAnswer struct {
	Ended   bool     `json:"ended"`             // false if there was nothing to end
	ID      string   `json:"id,omitempty"`      // the user's primary key
	Token   string   `json:"token,omitempty"`   // the fingerprint
	Session string   `json:"session,omitempty"` // the ID
	Notes   []string `json:"notes"`             // what the command prints
	Error   string   `json:"error,omitempty"`   // what may be valid still, and what to do about it
}

// endedAudit passes the line of what was ended on, and keeps it for the answer.
type endedAudit struct {
	auditor
	line *auditLine // nil if nothing was ended
}

func (a *endedAudit) note(line auditLine) {
	a.auditor.note(line)
	a.line = &line
}

// serveRevoke ends tokens and sessions, as the command revoke does.
func (a api) serveRevoke(w http.ResponseWriter, r *http.Request) error {
	var request revokeRequest
	if err := readRequest(w, r, &request); err != nil {
		return err
	}
	id, err := request.check()
	if err != nil {
		return apiError(http.StatusBadRequest, err.Error())
	}
	all := a.source.running()
	chosen, err := choose(all, string(request.Handler), parseWhole(request.Token), issueAlike)
	if err != nil {
		return apiError(http.StatusBadRequest, err.Error())
	}
	// Open another store than the running one, which may not write what is to be
	// written here. Both share the connections.
	i, closeStore, err := openIssuer(r.Context(), chosen.Handler, 0)
	if err != nil {
		return storeError(err)
	}
	defer func() { _ = closeStore() }() // nothing depends on it any more
	store, ok := i.users.(*userstore.MySQL)
	if !ok {
		return storeError(errors.New("the user store can't end tokens")) // unreachable: openIssuer opens one
	}
	var notes bytes.Buffer
	audit := &endedAudit{auditor: newEndpointAudit(chosen, r)}
	revocation := revocation{
		issuer: i, store: store, now: time.Now(), out: &notes, chosen: chosen, tables: tablesOfSessions(all, chosen), audit: audit,
	}
	err = revocation.serve(r.Context(), &request, id)
	return answerRevoke(w, audit.line, notes.String(), err)
}

// serve ends what a request asks to end.
func (r *revocation) serve(ctx context.Context, request *revokeRequest, id session.ID) error {
	switch {
	case request.Session != "":
		return r.endSession(ctx, id)
	case request.Token != "":
		return r.endToken(ctx, request.Token)
	}
	found, err := r.named(ctx, request.By, []string{string(request.User)})
	switch {
	case errors.Is(err, userstore.ErrNoField):
		return apiError(http.StatusBadRequest, "by: "+err.Error())
	case err != nil:
		return err
	case found[0].err != nil:
		return userError(found[0].err)
	}
	return r.endAll(ctx, found[0].user)
}

// answerRevoke answers with what was ended, and with what may be valid still.
func answerRevoke(w http.ResponseWriter, ended *auditLine, notes string, err error) error {
	answer, status := revokeAnswer{Ended: ended != nil, Notes: []string{}}, http.StatusOK
	if ended != nil {
		answer.ID, answer.Token, answer.Session = ended.user, ended.token, ended.session
	}
	for line := range strings.Lines(notes) {
		answer.Notes = append(answer.Notes, strings.TrimSuffix(line, "\n"))
	}
	if left, ok := errors.AsType[notEnded](err); ok {
		answer.Error, status, err = left.Error(), http.StatusConflict, nil
	}
	if err == nil {
		return writeStatus(w, status, answer)
	}
	if errors.Is(err, errNotOurs) {
		return apiError(http.StatusBadRequest, err.Error())
	}
	if _, isAnswer := errors.AsType[caddy.APIError](err); isAnswer {
		return err
	}
	return storeError(err)
}
