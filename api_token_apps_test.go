package sesame_test

import (
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestCredentialsOfASinglePageApplicationReachIt: an application's own credentials
// in Authorization stay beside the gateway's. The gateway's credentials are removed.
func TestCredentialsOfASinglePageApplicationReachIt(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		db.addDRF(t, aliceDRF, alice)
		cookie := cookieSignedWith(t, secretKey, time.Now())
		const (
			appJWT  = "Bearer eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhcHAifQ.c2lnbmF0dXJl"
			appJWE  = "Bearer eyJhbGciOiJkaXIiLCJlbmMiOiJBMTI4R0NNIn0..MTIz.NDU2.Nzg5"
			appBlob = "Bearer gho_16C7e42F292c6912E7710c838347Ae178B4a"
			appKey  = `Token token="abc", email="a@example.com"`
		)
		djangoJWT := "Bearer " + jwtFor(t, secretKey, alice, nil)
		link := "/?sesame=" + tokenFor(t, alice)
		expired := "Bearer " + jwtFor(t, secretKey, alice, map[string]any{"exp": 1})
		for _, options := range []string{"", "api_token simplejwt", allAPITokens} {
			up := startUpstream(t)
			g := startGateway(t, db, up, site{options: "session {\nredirect off\n}\n" + options})
			hasJWT, hasDRF := options != "", options == allAPITokens
			for _, test := range []struct {
				name, uri string
				header    []string
				left      string // of Authorization
			}{
				{"a JWT beside a session", "/", []string{"Cookie", cookie, "Authorization", appJWT}, appJWT},
				{"an encrypted JWT beside a session", "/", []string{"Cookie", cookie, "Authorization", appJWE}, appJWE},
				{"an opaque token beside a session", "/", []string{"Cookie", cookie, "Authorization", appBlob}, appBlob},
				{"a JWT beside a link", link, []string{"Authorization", appJWT}, appJWT},
				{"a JWT and Basic beside a session", "/", []string{"Cookie", cookie, "Authorization", appJWT, "Authorization", "Basic eDp5"}, appJWT},
				{"Django's JWT beside a session", "/", []string{"Cookie", cookie, "Authorization", djangoJWT}, map[bool]string{false: djangoJWT}[hasJWT]},
				{"Django's JWT, expired, beside a session", "/", []string{"Cookie", cookie, "Authorization", expired}, map[bool]string{false: expired}[hasJWT]},
				{"Django's JWT and another beside a session", "/", []string{"Cookie", cookie, "Authorization", djangoJWT + ", " + appJWT}, map[bool]string{false: djangoJWT + ", " + appJWT, true: appJWT}[hasJWT]},
				{"Django's JWT in other words beside a session", "/", []string{"Cookie", cookie, "Authorization", djangoJWT + " x"}, map[bool]string{false: djangoJWT + " x"}[hasJWT]},
				{"a key of another library's beside a session", "/", []string{"Cookie", cookie, "Authorization", appKey}, map[bool]string{false: appKey, true: `email="a@example.com"`}[hasDRF]},
				{"Django's key beside a session", "/", []string{"Cookie", cookie, "Authorization", "Token " + aliceDRF}, map[bool]string{false: "Token " + aliceDRF}[hasDRF]},
			} {
				g.get(t, test.uri, test.header...).wantStatus(t, http.StatusOK)
				got := up.takeOne(t)
				wantHeader(t, got.header, "Remote-User", "alice")
				if left := strings.Join(got.header["Authorization"], "|"); left != test.left {
					t.Errorf("%q, %s: the application got %q, want %q", options, test.name, left, test.left)
				}
			}
		}
	})
}

// TestApplicationsTokensWithoutAUser: with optional, an application's own tokens
// pass alone, too; elsewhere they are rejected, and say why.
func TestApplicationsTokensWithoutAUser(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		up := startUpstream(t)
		foreign := "Bearer " + jwtFor(t, "another application's key", alice, nil)
		g := startGateway(t, db, up, site{options: "optional\napi_token simplejwt"})
		g.get(t, "/", "Authorization", foreign).wantStatus(t, http.StatusOK)
		got := up.takeOne(t)
		wantHeader(t, got.header, "Authorization", foreign)
		wantHeader(t, got.header, "Remote-User", "")
		g.get(t, "/", "Authorization", "Bearer "+jwtFor(t, secretKey, bob, nil)).wantStatus(t, http.StatusUnauthorized)
		up.takeNone(t)

		g = startGateway(t, db, up, site{options: "api_token simplejwt"})
		answer := g.get(t, "/", "Authorization", foreign)
		answer.wantStatus(t, http.StatusUnauthorized)
		if got := answer.header.Get("WWW-Authenticate"); !strings.Contains(got, `error="invalid_token"`) {
			t.Errorf("the challenge is %q", got)
		}
		lines := g.awaitLines(t, "http.handlers.sesame", 1)
		if line := lines[len(lines)-1]; line["msg"] != "credentials refused" || line["scheme"] != "simplejwt" || line["reason"] != "bad_signature" {
			t.Errorf("logged %v", line)
		}
	})
}

// TestGuessedAPITokensCount: API tokens that don't exist count against
// limit_failures, each once. Tokens that an application or Django has made don't
// count.
func TestGuessedAPITokensCount(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		db.addDRF(t, aliceDRF, alice)
		db.addDRF(t, bobDRF, bob)
		db.addKnox(t, "01d"+aliceKnox[3:], alice, -time.Second)
		up := startUpstream(t)
		g := startGateway(t, db, up, limited(ownLimit("10 per 43m"), "session\n"+allAPITokens))
		cookie := cookieSignedWith(t, secretKey, time.Now())
		for i, test := range []struct {
			name    string
			header  func(n int) []string
			status  int
			limited bool
		}{
			{"many keys of drf", func(n int) []string { return []string{"Authorization", fmt.Sprintf("Token %040d", n)} }, 401, true},
			{"many tokens of knox", func(n int) []string { return []string{"Authorization", fmt.Sprintf("Token %064d", n)} }, 401, true},
			{"many JWTs of other keys", func(n int) []string {
				return []string{"Authorization", "Bearer " + jwtFor(t, fmt.Sprint(n), alice, nil)}
			}, 401, true},
			{"one key of drf", func(int) []string { return []string{"Authorization", "Token " + strings.Repeat("0", 40)} }, 401, false},
			{"one expired token of knox", func(int) []string { return []string{"Authorization", "Token 01d" + aliceKnox[3:]} }, 401, false},
			{"many expired JWTs", func(n int) []string {
				return []string{"Authorization", "Bearer " + jwtFor(t, secretKey, alice, map[string]any{"exp": 1000 + n})}
			}, 401, false},
			{"many JWTs of other keys beside a session", func(n int) []string {
				return []string{"Cookie", cookie, "Authorization", "Bearer " + jwtFor(t, fmt.Sprint(n), alice, nil)}
			}, 200, false},
			{"a valid key, again and again", func(int) []string { return []string{"Authorization", "Token " + aliceDRF} }, 200, false},
		} {
			t.Run(test.name, func(t *testing.T) {
				t.Parallel()
				client := fmt.Sprintf("203.0.113.%d", 1+i)
				for n := range 25 {
					answer := g.get(t, "/", from(client, test.header(n)...)...)
					if answer.status != test.status && !(test.limited && answer.status == http.StatusTooManyRequests) {
						t.Fatalf("request %d is answered %d: %s", n, answer.status, answer.body)
					}
				}
				answer := g.get(t, "/", from(client, "Authorization", fmt.Sprintf("Token %040d", 900+i))...)
				if isLimited := answer.status == http.StatusTooManyRequests; isLimited != test.limited {
					t.Errorf("then a guess is answered %d; limited: %t, want %t", answer.status, isLimited, test.limited)
				}
			})
		}
	})
}

// TestAPITokensOfOtherHandlers: a handler without api_token removes the tokens of
// another one of the configuration, and keeps them for it.
func TestAPITokensOfOtherHandlers(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		db.addDRF(t, aliceDRF, alice)
		up := startUpstream(t)
		store := fmt.Sprintf("secret_key %q\nlimit_failures off\nuserstore mysql {\ndsn %q\nquery_timeout 20s\n}", secretKey, db.dsn)
		g := startGateway(t, db, up, site{options: "optional", after: fmt.Sprintf(
			"route /api/* {\nsesame {\n%s\n%s\n}\nreverse_proxy %s\n}\nreverse_proxy %s", store, allAPITokens, up.addr, up.addr)})
		for _, authorization := range []string{"Token " + aliceDRF, "Bearer " + jwtFor(t, secretKey, alice, nil)} {
			g.get(t, "/api/x", "Authorization", authorization).wantStatus(t, http.StatusOK)
			wantHeader(t, up.takeOne(t).header, "Remote-User", "alice")
			g.get(t, "/legacy", "Authorization", authorization).wantStatus(t, http.StatusOK)
			got := up.takeOne(t)
			wantHeader(t, got.header, "Remote-User", "")
			wantHeader(t, got.header, "Authorization", "")
		}
	})
}

func TestChallengesOfAllSchemes(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		up := startUpstream(t)
		const basicChallenge = `Basic realm="the \"app\"", charset="UTF-8"`
		program := []string{"Accept", "*/*"}
		navigation := []string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
		script := []string{"Accept", "*/*", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}
		for _, test := range []struct {
			name, options string
			header        []string
			want          []string
		}{
			{"nothing is configured", "", program, []string{"Bearer"}},
			{"nothing but a realm", `realm "the app"`, program, []string{`Bearer realm="the app"`}},
			{"drf", "api_token drf", program, []string{"Bearer", "Token"}},
			{"all libraries", "api_token knox {\nprefix Knox\n}\n" + allAPITokens, program, []string{"Bearer", "Knox", "Token"}},
			{"simplejwt of another scheme", "api_token simplejwt {\nheader_types JWT Bearer\n}", program, []string{"Bearer", "JWT"}},
			{"a token by Basic", "realm `the \"app\"`\ntoken_from query basic", program, []string{basicChallenge, `Bearer realm="the \"app\""`}},
			{"a token by Basic, in a browser", "token_from query basic", navigation, []string{"Bearer"}},
			{"a token by Basic, from a script", "token_from query basic", script, []string{"Bearer"}},
			{"a token by Basic, from an old script", "token_from query basic", []string{"X-Requested-With", "XMLHttpRequest"}, []string{"Bearer"}},
			{"a password", "password {\nbasic\n}", program, []string{`Basic realm="sesame", charset="UTF-8"`, "Bearer"}},
			{"a password, in a browser without another way to log in", "password {\nbasic\n}", navigation, []string{`Basic realm="sesame", charset="UTF-8"`, "Bearer"}},
			{"a password, in a browser that links log in", "session\npassword {\nbasic\n}", navigation, []string{"Bearer"}},
			{"a password, from a script beside sessions", "session\npassword {\nbasic\n}", script, []string{"Bearer"}},
			{"a password by other ways than Basic", "password", program, []string{"Bearer"}},
			{"a wrong password", "password {\nbasic\n}", []string{"Authorization", "Basic dTpw"}, []string{`Basic realm="sesame", charset="UTF-8"`, "Bearer"}},
			{"an invalid key", "api_token drf", []string{"Authorization", "Token " + aliceDRF}, []string{"Bearer", "Token"}},
			{"an invalid JWT", "api_token simplejwt", []string{"Authorization", "Bearer " + jwtFor(t, "x", alice, nil)}, []string{`Bearer error="invalid_token", error_description="The token is invalid"`}},
			{"an expired JWT", "api_token simplejwt", []string{"Authorization", "Bearer " + jwtFor(t, secretKey, alice, map[string]any{"exp": 1})}, []string{`Bearer error="invalid_token", error_description="The token is expired"`}},
		} {
			g := startGateway(t, db, up, site{options: test.options})
			answer := g.get(t, "/", test.header...)
			answer.wantStatus(t, http.StatusUnauthorized)
			if got := answer.header["Www-Authenticate"]; !slices.Equal(got, test.want) {
				t.Errorf("%s: the challenges are %q, want %q", test.name, got, test.want)
			}
		}
	})
}

// TestProgramsFindTheirSchemeAmongAll has curl and git ask for a page without
// credentials first, and choose a scheme by the challenges.
func TestProgramsFindTheirSchemeAmongAll(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		up := startUpstream(t)
		g := startGateway(t, db, up, site{options: "realm app\ntoken_from bearer basic\n" + allAPITokens})
		token := tokenFor(t, alice)
		for _, program := range [][]string{
			{"curl", "--silent", "--anyauth", "--user", "any:" + token, "http://" + g.addr + "/a"},
			{"curl", "--silent", "--anyauth", "--oauth2-bearer", token, "http://" + g.addr + "/a"},
			{"git", "-c", "credential.helper=", "ls-remote", "http://any:" + token + "@" + g.addr + "/a.git"},
		} {
			path, err := exec.LookPath(program[0])
			if err != nil {
				if os.Getenv("CI") != "" {
					t.Fatal(err)
				}
				t.Logf("%s isn't on PATH", program[0])
				continue
			}
			command := exec.Command(path, program[1:]...)
			command.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "HOME="+t.TempDir(), "no_proxy=*")
			output, _ := command.CombinedOutput() // git finds no repository there
			requests := up.take()
			if len(requests) == 0 {
				t.Errorf("%s: no request reached the upstream: %s", program[0], output)
				continue
			}
			wantHeader(t, requests[0].header, "Remote-User", "alice")
			wantHeader(t, requests[0].header, "Authorization", "")
		}
	})
}

// TestOpenStreamsEndWithTheirAPITokens has tokens expire, and deletes their rows.
func TestOpenStreamsEndWithTheirAPITokens(t *testing.T) {
	withMariaDB(t, func(t *testing.T, db *database) {
		db = db.withAPITokens(t)
		db.addDRF(t, aliceDRF, alice)
		db.addKnox(t, "e7e12a1"+aliceKnox[7:], carol, 0)
		stream := "reverse_proxy " + startEndless(t) + " {\nflush_interval -1\n}"
		g := startGateway(t, db, startUpstream(t), site{options: "watch 50ms\n" + allAPITokens, after: stream})
		open := func(authorization string) <-chan struct{} {
			return g.openStream(t, "/", "Authorization", authorization)
		}
		ending := map[string]<-chan struct{}{
			"a JWT": g.openExpiring(t, func(lasts time.Duration) string {
				return "Bearer " + jwtFor(t, secretKey, alice, map[string]any{"exp": time.Now().Add(lasts).Unix()})
			}),
			"of knox": g.openExpiring(t, func(lasts time.Duration) string {
				db.mustExec(t, "DELETE FROM knox_authtoken WHERE user_id = ?", alice.id)
				db.addKnox(t, aliceKnox, alice, lasts)
				return "Token " + aliceKnox
			}),
		}
		deleted := open("Token " + aliceDRF)
		others := []<-chan struct{}{open("Token e7e12a1" + aliceKnox[7:]), open("Bearer " + jwtFor(t, secretKey, alice, nil))}
		for name, stream := range ending {
			poll(t, "the end of the stream of a token "+name, func() bool { return hasEnded(stream) })
		}
		if hasEnded(deleted) {
			t.Error("the stream of a token that doesn't end has ended")
		}
		db.mustExec(t, "DELETE FROM authtoken_token")
		poll(t, "the end of the stream of a token that was deleted", func() bool { return hasEnded(deleted) })
		for _, stream := range others {
			if hasEnded(stream) {
				t.Error("the stream of another token has ended")
			}
		}
	})
}
