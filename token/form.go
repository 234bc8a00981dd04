package token

// CanParse reports whether a text has the form of a token: Parse might accept
// it at some time, in some scope and with some key.
func (t *Tokens) CanParse(text string) bool {
	if len(text) > maxTokenSize {
		return false
	}
	for _, version := range t.settings.Versions {
		switch {
		case version == V2 && isV2(text):
			return t.hasV2Parts(text)
		case version == V1 && t.isV1(text):
			return true
		}
	}
	return false
}

// hasV2Parts reports whether a text decodes to a primary key, a timestamp if
// the settings have max_age, and a signature.
func (t *Tokens) hasV2Parts(text string) bool {
	var p Parsed
	switch t.parseV2(&p, text, Expectation{}) {
	case Malformed, NoPrimaryKey, NoTimestamp, NoSignature:
		return false
	}
	return true
}

// Resembles reports whether a text is a token, or could be one that was cut
// off or had a few characters added: it has only characters of tokens, and
// isn't much longer. Other texts are something else, such as the credentials
// of an application.
func (t *Tokens) Resembles(text string) bool {
	if t.CanParse(text) {
		return true
	}
	const added = 4
	return len(text) <= t.longestV2()+added && isBase64URL(text)
}

// longestV2 returns the length of the longest v2 token. If all primary keys have
// the same size, every token has that length.
func (t *Tokens) longestV2() int {
	size := maxKeyBytes
	switch kind := t.settings.Encoding.Kind(); kind {
	case KindInt, KindUint, KindUUID:
		if packed, err := t.settings.Encoding.Pack(nil, PrimaryKey{kind: kind}); err == nil {
			size = len(packed)
		}
	}
	if t.settings.MaxAge != nil {
		size += 4
	}
	return ((size+t.settings.SignatureSize)*4 + 2) / 3
}

// MayBeToken reports whether a text has only characters of tokens, for any
// settings.
func MayBeToken(text string) bool {
	if len(text) > maxTokenSize {
		return false
	}
	for i := range len(text) {
		if text[i] != ':' && !isBase64URL(text[i:i+1]) {
			return false
		}
	}
	return true
}
