package sesame

import "net/http"

// keySetAge is for how long others may keep the key set.
const keySetAge = "public, max-age=300"

// serveKeySet tells whoever asks by which keys assertions are verified.
func (h *Handler) serveKeySet(w http.ResponseWriter, r *http.Request) error {
	counted.requests[outcomePage].Add(1)
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return nil
	}
	header := w.Header()
	header.Set("Content-Type", "application/jwk-set+json")
	header.Set("Cache-Control", keySetAge)
	header.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	_, err := w.Write(h.assertions.KeySet())
	return err
}
