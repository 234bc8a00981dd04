// Package repost keeps what a browser has posted while its user logs in, and has a
// form send it again. The browser itself keeps it, sealed, in a field of the forms
// for logging in.
package repost

import (
	"bytes"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/caddy-sesame/caddy-sesame/internal/origin"
	"github.com/caddy-sesame/caddy-sesame/internal/page"
)

// Body is what a browser has posted.
type Body struct {
	Target   string       `json:"t"` // the URL that it was posted to
	Encoding string       `json:"e"` // of the form
	Fields   []page.Field `json:"f"`
}

// The encodings of forms. The third one, text/plain, is ambiguous.
const (
	urlencoded = "application/x-www-form-urlencoded"
	multiparts = "multipart/form-data"
)

// MaxBody is how many bytes a body may have, and maxFields how many fields.
const (
	MaxBody   = 64 << 10
	maxFields = 1000
)

// MayRead reports whether a request's body can be kept: a form of a page of this
// origin has sent it in the user's sight, and it isn't known to be too large. What
// other sites send isn't kept, since users could be led to send it again.
func MayRead(r *http.Request) bool {
	from := origin.Of(r)
	return r.Method == http.MethodPost && from.Initiator == origin.Own && !from.IsFrame && origin.IsNavigation(r.Header) &&
		r.ContentLength <= MaxBody && len(r.Header["Content-Type"]) == 1 && encodingOf(r) != "" && r.Header.Get("Content-Encoding") == ""
}

func encodingOf(r *http.Request) string {
	switch kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); {
	case err == nil && (kind == urlencoded || kind == multiparts):
		return kind
	}
	return ""
}

// errUnfit: a form of a page in UTF-8 couldn't send the same body.
var errUnfit = errors.New("the body is too large, malformed, or not in UTF-8")

// Read reads the body of a request that MayRead accepts. target is the URL that the
// form posted to.
func Read(r *http.Request, target string) (*Body, error) {
	text, err := io.ReadAll(io.LimitReader(r.Body, MaxBody+1))
	if err != nil || len(text) > MaxBody {
		return nil, errUnfit
	}
	body := &Body{Target: target, Encoding: encodingOf(r)}
	if body.Encoding == multiparts {
		body.Fields, err = readParts(text, r.Header.Get("Content-Type"))
	} else {
		body.Fields, err = readPairs(string(text))
	}
	if err != nil {
		return nil, err
	}
	for _, field := range body.Fields {
		if !isFit(field.Name) || !isFit(field.Value) || !isFit(field.Filename) {
			return nil, errUnfit
		}
	}
	return body, nil
}

// isFit reports whether a text survives in a page.
func isFit(text string) bool { return utf8.ValidString(text) && strings.IndexByte(text, 0) < 0 }

// readPairs reads an urlencoded body, whose pairs are in order.
func readPairs(text string) (fields []page.Field, err error) {
	for pair := range strings.SplitSeq(text, "&") {
		if pair == "" {
			continue
		}
		name, value, _ := strings.Cut(pair, "=")
		if name, err = url.QueryUnescape(name); err != nil {
			return nil, errUnfit
		}
		if value, err = url.QueryUnescape(value); err != nil || len(fields) == maxFields {
			return nil, errUnfit
		}
		fields = append(fields, page.Field{Name: name, Value: value})
	}
	return fields, nil
}

// readParts reads a multipart body. Of files, only the names are kept: no page can
// choose a user's file.
func readParts(text []byte, contentType string) (fields []page.Field, err error) {
	_, params, err := mime.ParseMediaType(contentType)
	end := "--" + params["boundary"] + "--"
	if err != nil || !bytes.HasSuffix(bytes.TrimRight(text, "\r\n"), []byte(end)) { // multipart takes what is cut off for the end
		return nil, errUnfit
	}
	parts := multipart.NewReader(bytes.NewReader(text), params["boundary"])
	for {
		part, err := parts.NextRawPart()
		if errors.Is(err, io.EOF) {
			return fields, nil
		}
		if err != nil || len(fields) == maxFields {
			return nil, errUnfit
		}
		field, err := readPart(part)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field)
	}
}

// readPart reads one field of a multipart body.
func readPart(part *multipart.Part) (page.Field, error) {
	kind, params, err := mime.ParseMediaType(part.Header.Get("Content-Disposition"))
	if err != nil || kind != "form-data" {
		return page.Field{}, errUnfit
	}
	// Browsers write these characters so, and would write them so again.
	plain := strings.NewReplacer("%22", `"`, "%0D", "\r", "%0A", "\n")
	field := page.Field{Name: plain.Replace(params["name"])}
	if filename, ok := params["filename"]; ok {
		field.IsFile, field.Filename = true, plain.Replace(filename)
		return field, nil
	}
	value, err := io.ReadAll(part)
	if err != nil {
		return page.Field{}, errUnfit
	}
	field.Value = string(value)
	return field, nil
}
