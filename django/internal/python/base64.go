package python

import "errors"

var errBase64 = errors.New("not base64 that Python's urlsafe_b64decode reads")

// DecodeBase64 reads base64 like Python's urlsafe_b64decode does a text that
// was padded to a multiple of four, as Django and PyJWT do: it skips characters of no alphabet, accepts both alphabets,
// and ends at a padding that is complete.
func DecodeBase64(text string) ([]byte, error) {
	data := make([]byte, 0, len(text)*3/4+3)
	var bits uint32
	position, pads := 0, 0 // of characters in a group of four
	padded := len(text) + (-len(text) & 3)
	for i := range padded {
		c := byte('=')
		if i < len(text) {
			c = text[i]
		}
		if c == '=' {
			if position < 2 {
				continue
			}
			if pads++; position+pads >= 4 {
				return data, nil
			}
			continue
		}
		value := base64Values[c]
		if value == notBase64 {
			continue
		}
		pads = 0
		bits = bits<<6 | uint32(value)
		if position > 0 {
			data = append(data, byte(bits>>(6-2*position)))
		}
		position = (position + 1) & 3
	}
	if position != 0 {
		return nil, errBase64
	}
	return data, nil
}

const notBase64 = 0xff

var base64Values = func() (values [256]byte) {
	for i := range values {
		values[i] = notBase64
	}
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	for i := range len(alphabet) {
		values[alphabet[i]] = byte(i)
	}
	values['-'], values['+'] = 62, 62
	values['_'], values['/'] = 63, 63
	return values
}()
