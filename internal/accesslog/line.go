package accesslog

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddy-sesame/caddy-sesame/internal/claim"
	"github.com/caddy-sesame/caddy-sesame/internal/claim/rawuri"
)

// line redacts the parts of one log line.
type line struct {
	sources *claim.Sources
	request *http.Request // the original request; nil if it has no credentials

	secrets   []string // of the request
	isScanned bool
}

// redact returns log fields without credentials.
func (l *line) redact(fields []zapcore.Field) []zapcore.Field {
	redacted := make([]zapcore.Field, len(fields))
	for i, field := range fields {
		redacted[i] = l.field(field)
	}
	return redacted
}

func (l *line) field(field zapcore.Field) zapcore.Field {
	switch value := field.Interface.(type) {
	case caddyhttp.LoggableHTTPRequest:
		isExposed := l.sources.IsExposed(value.Request)
		if isExposed || len(value.Request.Header["Authorization"]) > 0 {
			l.request = value.Request
		}
		if isExposed {
			value.Request = l.sources.Redact(value.Request)
			field.Interface = value
		}
		return field
	case caddyhttp.LoggableHTTPHeader:
		value.Header = l.sources.RedactHeader(value.Header)
		field.Interface = value
		return field
	}
	switch field.Type {
	case zapcore.StringType:
		field.String = l.text(field.String)
		return field
	case zapcore.ErrorType, zapcore.StringerType, zapcore.ByteStringType:
		return l.printed(field)
	case zapcore.ReflectType, zapcore.ArrayMarshalerType, zapcore.ObjectMarshalerType:
		return l.composite(field)
	}
	return field
}

// printed redacts a value that is printed as text.
func (l *line) printed(field zapcore.Field) zapcore.Field {
	printed := fmt.Sprint(field.Interface)
	if bytes, ok := field.Interface.([]byte); ok {
		printed = string(bytes)
	}
	if text := l.text(printed); text != printed {
		return zap.String(field.Key, text)
	}
	return field
}

// composite redacts a value that is printed as JSON, such as the list value of
// a placeholder.
func (l *line) composite(field zapcore.Field) zapcore.Field {
	encoder := zapcore.NewMapObjectEncoder()
	field.AddTo(encoder)
	printed, err := json.Marshal(encoder.Fields[field.Key])
	if err != nil {
		return field
	}
	text := l.text(string(printed))
	if text == string(printed) {
		return field
	}
	if !json.Valid([]byte(text)) {
		return zap.String(field.Key, rawuri.Redacted)
	}
	return zap.Reflect(field.Key, json.RawMessage(text))
}

// text redacts a text: parameters in it, and the credentials of the request
// wherever they occur without a name.
func (l *line) text(text string) string {
	text = l.sources.RedactText(text)
	if l.request == nil || len(text) < claim.MinSecret {
		return text
	}
	if !l.isScanned {
		l.isScanned, l.secrets = true, l.sources.Secrets(l.request)
	}
	for _, secret := range l.secrets {
		text = strings.ReplaceAll(text, secret, rawuri.Redacted)
	}
	return text
}
