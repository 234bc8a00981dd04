package repost_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddy-sesame/caddy-sesame/internal/page"
	"github.com/caddy-sesame/caddy-sesame/internal/repost"
)

const urlencoded = "application/x-www-form-urlencoded"

// post returns a request by which a form of the site posts a body. header replaces
// fields.
func post(body, contentType string, header ...string) *http.Request {
	r := httptest.NewRequest(http.MethodPost, "http://app.example.com/comments?page=2", strings.NewReader(body))
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("Origin", "http://app.example.com")
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	return r
}

func TestOnlyFormsOfTheSiteItselfAreKept(t *testing.T) {
	t.Parallel()
	const multiparts = "multipart/form-data; boundary=x"
	other := httptest.NewRequest(http.MethodPut, "http://app.example.com/", strings.NewReader("a=1"))
	other.Header = post("", urlencoded).Header
	for name, test := range map[string]struct {
		r    *http.Request
		want bool
	}{
		"a form":                      {post("a=1", urlencoded), true},
		"a form with a charset":       {post("a=1", urlencoded+"; charset=utf-8"), true},
		"a form in parts":             {post("", multiparts), true},
		"over HTTPS":                  {post("a=1", urlencoded, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"), true},
		"of another site":             {post("a=1", urlencoded, "Origin", "https://evil.example"), false},
		"of a sibling host":           {post("a=1", urlencoded, "Sec-Fetch-Site", "same-site"), false},
		"of a hidden origin":          {post("a=1", urlencoded, "Origin", "null"), false},
		"of an unknown origin":        {post("a=1", urlencoded, "Origin", ""), false},
		"of a script":                 {post("a=1", urlencoded, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"), false},
		"in a frame":                  {post("a=1", urlencoded, "Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"), false},
		"JSON":                        {post("{}", "application/json"), false},
		"as text":                     {post("a=1", "text/plain"), false},
		"without a type":              {post("a=1", ""), false},
		"compressed":                  {post("a=1", urlencoded, "Content-Encoding", "gzip"), false},
		"as large as allowed":         {post(strings.Repeat("a", repost.MaxBody), urlencoded), true},
		"too large":                   {post(strings.Repeat("a", repost.MaxBody+1), urlencoded), false},
		"by another method than POST": {other, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := repost.MayRead(test.r); got != test.want {
				t.Errorf("kept: %t, want %t", got, test.want)
			}
		})
	}
}

func TestFieldsAreReadInOrder(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		body string
		want []page.Field // nil for an error
	}{
		"twice the same name":     {"b=2&a=1&b=3", []page.Field{{Name: "b", Value: "2"}, {Name: "a", Value: "1"}, {Name: "b", Value: "3"}}},
		"other characters":        {"t=a%0D%0Ab+%C3%A9%26%3D%2B&%5B%5D=", []page.Field{{Name: "t", Value: "a\r\nb é&=+"}, {Name: "[]"}}},
		"without a value":         {"a&&b", []page.Field{{Name: "a"}, {Name: "b"}}},
		"the names of our fields": {"csrf=x&method=password&carried=y", []page.Field{{Name: "csrf", Value: "x"}, {Name: "method", Value: "password"}, {Name: "carried", Value: "y"}}},
		"a broken escape":         {"a=%zz", nil},
		"another charset":         {"a=%E9", nil},
		"NUL":                     {"a=%00", nil},
		"too many fields":         {strings.Repeat("a&", 1001), nil},
		"more than announced":     {strings.Repeat("a", repost.MaxBody+1), nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := repost.Read(post(test.body, urlencoded), "/comments")
			if (err != nil) != (test.want == nil) {
				t.Fatalf("error %v", err)
			}
			if err == nil && (!slices.Equal(got.Fields, test.want) || got.Target != "/comments" || got.Encoding != urlencoded) {
				t.Errorf("%+v, want %+v", got, test.want)
			}
		})
	}
}

// TestOfFilesOnlyTheNamesAreKept: a page can't choose a user's file.
func TestOfFilesOnlyTheNamesAreKept(t *testing.T) {
	t.Parallel()
	var body bytes.Buffer
	parts := multipart.NewWriter(&body)
	write := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	write(parts.WriteField(`a "b"`, "x\r\n--y"))
	file, err := parts.CreateFormFile("photo", "sea.jpg")
	write(err)
	_, err = file.Write([]byte{0xff, 0xd8, 0})
	write(err)
	_, err = parts.CreateFormFile("second", "")
	write(err)
	write(parts.Close())
	text := strings.ReplaceAll(body.String(), `\"`, "%22") // as browsers write it
	got, err := repost.Read(post(text, parts.FormDataContentType()), "/")
	want := []page.Field{{Name: `a "b"`, Value: "x\r\n--y"}, {Name: "photo", IsFile: true, Filename: "sea.jpg"}, {Name: "second", IsFile: true}}
	if err != nil || !slices.Equal(got.Fields, want) || got.Encoding != "multipart/form-data" {
		t.Errorf("%+v, %v; want %+v", got, err, want)
	}
	for name, broken := range map[string]string{
		"cut off":            text[:len(text)-20],
		"no form-data":       strings.ReplaceAll(text, "form-data; name", "attachment; name"),
		"another boundary":   strings.ReplaceAll(text, parts.Boundary(), "other"),
		"without parameters": strings.ReplaceAll(text, "form-data; ", ";;"),
	} {
		if got, err := repost.Read(post(broken, parts.FormDataContentType()), "/"); err == nil {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

func TestSealedBodyOpensForItsUserInItsBrowserOnly(t *testing.T) {
	t.Parallel()
	keeper, now := repost.NewKeeper([]byte("key")), time.Now()
	body := &repost.Body{Target: "/a", Encoding: urlencoded, Fields: []page.Field{{Name: "secret", Value: "<é>"}}}
	sealed, ok := keeper.Seal(body, "tie", "1", now)
	if !ok || strings.Contains(sealed, "secret") {
		t.Fatalf("sealed as %s, %t", sealed, ok)
	}
	unowned, _ := keeper.Seal(body, "tie", "", now)
	damaged := []byte(sealed)
	damaged[len(damaged)/2] ^= 1
	for name, test := range map[string]struct {
		keeper *repost.Keeper
		text   string
		ties   []string
		user   string
		at     time.Duration
		want   bool
	}{
		"the user":                    {keeper, sealed, []string{"other", "tie"}, "1", 0, true},
		"another user":                {keeper, sealed, []string{"tie"}, "2", 0, false},
		"a user where none was known": {keeper, unowned, []string{"tie"}, "2", 0, true},
		"another browser":             {keeper, sealed, []string{"other", ""}, "1", 0, false},
		"a browser without cookies":   {keeper, sealed, nil, "1", 0, false},
		"within the hour":             {keeper, sealed, []string{"tie"}, "1", 59 * time.Minute, true},
		"after an hour":               {keeper, sealed, []string{"tie"}, "1", 61 * time.Minute, false},
		"another key":                 {repost.NewKeeper([]byte("other")), sealed, []string{"tie"}, "1", 0, false},
		"damaged":                     {keeper, string(damaged), []string{"tie"}, "1", 0, false},
		"no base64":                   {keeper, "%", []string{"tie"}, "1", 0, false},
		"too short":                   {keeper, "AAAA", []string{"tie"}, "1", 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := test.keeper.Open(test.text, test.ties, test.user, now.Add(test.at))
			if (err == nil) != test.want {
				t.Fatalf("error %v", err)
			}
			if err == nil && (got.Target != "/a" || !slices.Equal(got.Fields, body.Fields)) {
				t.Errorf("%+v", got)
			}
		})
	}
}

func TestBodyThatBecomesTooLargeIsNotSealed(t *testing.T) {
	t.Parallel()
	body := &repost.Body{Fields: []page.Field{{Name: "a", Value: strings.Repeat("\x01", repost.MaxBody/3)}}}
	if text, ok := repost.NewKeeper(nil).Seal(body, "tie", "", time.Now()); ok {
		t.Errorf("sealed in %d bytes", len(text))
	}
	body.Fields[0].Value = strings.Repeat("a", repost.MaxBody)
	if text, ok := repost.NewKeeper(nil).Seal(body, "tie", "", time.Now()); !ok {
		t.Errorf("the largest body isn't kept: %d bytes", len(text))
	}
}

// FuzzReadKeepsWhatTheFormHad compares the fields with net/url's.
func FuzzReadKeepsWhatTheFormHad(f *testing.F) {
	for _, seed := range []string{"", "a=1&b=2", "a=%C3%A9+x", "&&=", "a;b=1", "%", "a=b=c"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, body string) {
		got, err := repost.Read(post(body, urlencoded), "/")
		if err != nil {
			return
		}
		read := make(url.Values)
		for _, field := range got.Fields {
			read.Add(field.Name, field.Value)
		}
		want, err := url.ParseQuery(strings.ReplaceAll(body, ";", "%3B")) // which net/url rejects, and browsers don't
		if err != nil || read.Encode() != want.Encode() {
			t.Errorf("%q, want %q (%v)", read.Encode(), want.Encode(), err)
		}
	})
}
