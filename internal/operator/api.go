package operator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/caddy-sesame/caddy-sesame/token"
	"github.com/caddy-sesame/caddy-sesame/userstore"
)

// Routes returns the routes of /sesame/ on Caddy's admin endpoint, for programs
// that make links without Django, and for operators. Any client that reaches the
// endpoint may use all of them: the endpoint is for the same machine, and Caddy's
// rules for it apply.
func Routes(source Source) []caddy.AdminRoute {
	a := api{source}
	return []caddy.AdminRoute{
		{Pattern: "/sesame/token", Handler: caddy.AdminHandlerFunc(a.serveToken)},
		{Pattern: "/sesame/explain", Handler: caddy.AdminHandlerFunc(a.serveExplain)},
		{Pattern: "/sesame/revoke", Handler: caddy.AdminHandlerFunc(a.serveRevoke)},
		{Pattern: "/sesame/status", Handler: caddy.AdminHandlerFunc(a.serveStatus)},
	}
}

// api serves the admin API.
type api struct{ source Source }

// mostBody is the most that a request may have in its body.
const mostBody = 64 << 10

// readRequest reads the JSON of a POST request. It requires a content type that a
// page of another site can't send without the browser asking first.
func readRequest(w http.ResponseWriter, r *http.Request, into any) error {
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		return apiError(http.StatusMethodNotAllowed, "send a POST request")
	}
	if kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || kind != "application/json" {
		return apiError(http.StatusUnsupportedMediaType, "send JSON, with the content type application/json")
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, mostBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil && decoder.More() {
		err = errors.New("more than one object")
	}
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return apiError(http.StatusRequestEntityTooLarge, fmt.Sprintf("the request is larger than %d bytes", tooLarge.Limit))
	}
	if err != nil {
		// The error may quote the body, which has a token in it.
		return apiError(http.StatusBadRequest, "the request isn't an object of JSON with the fields that are documented")
	}
	return nil
}

// apiError is an error for the client, which Caddy logs as well.
func apiError(status int, message string) error {
	return caddy.APIError{HTTPStatus: status, Err: errors.New(message), Message: message}
}

// storeError answers an error of the store, without details for the client.
func storeError(err error) error {
	if errors.Is(err, userstore.ErrUnavailable) {
		return caddy.APIError{HTTPStatus: http.StatusServiceUnavailable, Err: err, Message: "the user store is unavailable"}
	}
	return caddy.APIError{HTTPStatus: http.StatusInternalServerError, Err: err, Message: "something is wrong with the configuration; Caddy's log says what"}
}

// writeJSON answers a request.
func writeJSON(w http.ResponseWriter, answer any) error {
	return writeStatus(w, http.StatusOK, answer)
}

// writeStatus answers a request with a status.
func writeStatus(w http.ResponseWriter, status int, answer any) error {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(answer)
}

// tokenRequest asks for a token.
type tokenRequest struct {
	User    userName `json:"user"`
	By      nameKind `json:"by"`
	Scope   *string  `json:"scope"`
	URL     string   `json:"url"`
	AnyURL  bool     `json:"any_url"`
	Force   bool     `json:"force"`
	Handler selector `json:"handler"`
}

// userName is a user's name: text, or a JSON number.
type userName string

// UnmarshalJSON reads a string or a number.
func (n *userName) UnmarshalJSON(text []byte) error {
	name, err := stringOrNumber(text)
	*n = userName(name)
	return err
}

// selector names a handler, as --route does.
type selector string

// UnmarshalJSON reads a string or a number.
func (s *selector) UnmarshalJSON(text []byte) error {
	name, err := stringOrNumber(text)
	*s = selector(name)
	return err
}

func stringOrNumber(text []byte) (string, error) {
	if n, err := strconv.ParseInt(string(text), 10, 64); err == nil {
		return strconv.FormatInt(n, 10), nil
	}
	var name string
	err := json.Unmarshal(text, &name)
	return name, err
}

// tokenAnswer is a token that was made.
type tokenAnswer struct {
	ID      string     `json:"id"`
	Token   string     `json:"token"`
	Link    string     `json:"link,omitempty"`
	Scope   string     `json:"scope"`
	Expires *time.Time `json:"expires,omitempty"`
}

// serveToken makes a token.
func (a api) serveToken(w http.ResponseWriter, r *http.Request) error {
	var request tokenRequest
	if err := readRequest(w, r, &request); err != nil {
		return err
	}
	if request.User == "" {
		return apiError(http.StatusBadRequest, "name a user")
	}
	if err := request.By.validate(); err != nil {
		return apiError(http.StatusBadRequest, "by: "+err.Error())
	}
	equal := issueAlike
	if request.Scope != nil {
		equal = issueAlikeForScope
	}
	u, _ := url.Parse(request.URL) // newMint says what is wrong with it
	all := a.source.running()
	chosen, err := choose(all, string(request.Handler), u, equal)
	if err != nil {
		return apiError(http.StatusBadRequest, err.Error())
	}
	i, err := chosen.issuer(r.Context())
	if err != nil {
		return storeError(err)
	}
	m, err := newMint(i, request.Scope, request.URL, site{chosen, all, request.AnyURL}, time.Now())
	if err != nil {
		return apiError(http.StatusBadRequest, err.Error())
	}
	m.force = request.Force
	found, err := i.named(r.Context(), request.By, []string{string(request.User)})
	if errors.Is(err, userstore.ErrNoField) {
		return apiError(http.StatusBadRequest, "by: "+err.Error())
	}
	if err != nil {
		return storeError(err)
	}
	return answerToken(w, m, found[0], newEndpointAudit(chosen, r))
}

// answerToken answers with the user's token, or with the error if no user was
// found.
func answerToken(w http.ResponseWriter, m *mint, found namedUser, audit auditor) error {
	if found.err != nil {
		return userError(found.err)
	}
	made, err := m.token(found.user)
	if err != nil {
		return apiError(http.StatusUnprocessableEntity, err.Error())
	}
	audit.note(m.line(found.user.ID(), made))
	answer := tokenAnswer{ID: found.user.ID(), Token: made, Link: m.link(made), Scope: m.scope}
	if at, ok := m.expires(); ok {
		answer.Expires = &at
	}
	return writeJSON(w, answer)
}

// userError answers that no user was found, or more than one.
func userError(err error) error {
	if errors.Is(err, errNobody) {
		return apiError(http.StatusNotFound, err.Error())
	}
	return apiError(http.StatusConflict, err.Error())
}

// explainRequest asks why a token is or isn't valid.
type explainRequest struct {
	Token   string   `json:"token"`
	At      string   `json:"at"`
	Scopes  []string `json:"scopes"`
	Site    string   `json:"site"`
	User    userName `json:"user"`
	By      nameKind `json:"by"`
	Handler selector `json:"handler"`
}

// explainAnswer is an explanation.
type explainAnswer struct {
	*token.Explanation
	// ScopeUnknown: the verdict depends on the scope, and that on the request.
	ScopeUnknown bool `json:"scope_unknown,omitempty"`
}

// serveExplain explains a token.
func (a api) serveExplain(w http.ResponseWriter, r *http.Request) error {
	var request explainRequest
	if err := readRequest(w, r, &request); err != nil {
		return err
	}
	if err := request.By.validate(); err != nil {
		return apiError(http.StatusBadRequest, "by: "+err.Error())
	}
	q := question{text: request.Token, at: time.Now(), scopes: request.Scopes, site: asciiHost(request.Site), others: a.source.running()}
	if request.At != "" {
		var err error
		if q.at, err = parseTime(request.At, q.at); err != nil {
			return apiError(http.StatusBadRequest, "at: "+err.Error())
		}
	}
	chosen, err := choose(q.others, string(request.Handler), parseWhole(request.Token), issueAlike)
	if err != nil {
		return apiError(http.StatusBadRequest, err.Error())
	}
	q.chosen = chosen
	// Open another store than the running one, which may not read all columns that
	// a token may depend on. Both share the connections.
	i, closeStore, err := openIssuer(r.Context(), chosen.Handler, 0)
	if err != nil {
		return storeError(err)
	}
	defer func() { _ = closeStore() }() // nothing depends on it any more
	if request.User != "" {
		found, err := i.named(r.Context(), request.By, []string{string(request.User)})
		switch {
		case err != nil:
			return storeError(err)
		case found[0].err != nil:
			return apiError(http.StatusBadRequest, "user: "+found[0].err.Error())
		}
		q.user = found[0].user
	}
	explanation, err := i.explain(r.Context(), q)
	if err != nil {
		return storeError(err)
	}
	if explanation.credential != nil {
		return writeJSON(w, explanation.credential)
	}
	return writeJSON(w, explainAnswer{explanation.Explanation, explanation.openScope})
}

// issuer makes tokens by the store that runs.
func (c *configured) issuer(ctx context.Context) (*issuer, error) {
	tokens, err := c.Live.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	return &issuer{Handler: c.Handler, tokens: tokens, users: c.Live.Store}, nil
}
