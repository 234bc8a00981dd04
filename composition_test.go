package sesame_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// anyDatabase is for tests to which it makes no difference which one it is.
func anyDatabase(t *testing.T) *database {
	t.Helper()
	db := databases[0]
	db.reset(t)
	return db
}

// doWithBody is gateway.do for requests with a body.
func (g *gateway) doWithBody(t *testing.T, method, uri, body string, header ...string) *response {
	t.Helper()
	request, err := http.NewRequest(method, "http://"+g.addr+uri, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		request.Header.Add(header[i], header[i+1])
	}
	client := &http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{DisableKeepAlives: true, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	answer, err := client.Do(request)
	if err != nil {
		t.Fatalf("%s %s: %v", method, uri, err)
	}
	defer answer.Body.Close()
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatalf("%s %s: reading the answer: %v", method, uri, err)
	}
	return &response{status: answer.StatusCode, header: answer.Header, body: string(got)}
}
