package sesame

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/caddy-sesame/caddy-sesame/internal/strictjson"
)

// UnmarshalJSON decodes the handler's configuration. Unlike Caddy's decoder, its
// errors name the option by its path, what was expected, and the name that was
// probably meant.
func (h *Handler) UnmarshalJSON(data []byte) error {
	type plain Handler // without this method
	err := strictjson.Decode(data, (*plain)(h))
	if err == nil {
		return nil
	}
	var adapted struct {
		Source string `json:"source"`
	}
	if json.Unmarshal(data, &adapted) == nil && adapted.Source != "" {
		return fmt.Errorf("%s: %w", adapted.Source, err)
	}
	return err
}

// isConfiguredBy reports whether JSON is the handler's configuration.
func (h *Handler) isConfiguredBy(config []byte) bool {
	mine, err := json.Marshal(h)
	if err != nil {
		return false
	}
	other := new(Handler)
	if json.Unmarshal(config, other) != nil {
		return false
	}
	theirs, err := json.Marshal(other)
	return err == nil && bytes.Equal(theirs, mine)
}

// Interface guards
var _ json.Unmarshaler = (*Handler)(nil)
