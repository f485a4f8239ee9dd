package insights

// unescaped are the characters that JavaScript's encodeURIComponent leaves as they are.
var unescaped = func() (t [256]bool) {
	for c := range t {
		t[c] = 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
	}
	for _, c := range "-_.!~*'()" {
		t[c] = true
	}
	return t
}()

const upperHex = "0123456789ABCDEF"

// EncodedFilter appends facetName:facetValue to dst, each part URL-encoded once on its own and the
// colon kept (insights-api.md, section 12). As JavaScript's encodeURIComponent does, every byte of
// the UTF-8 text but A–Z a–z 0–9 - _ . ! ~ * ' ( ) becomes %XX, so "10%" becomes "10%25".
func EncodedFilter(dst, facetName, facetValue []byte) []byte {
	dst = appendURIComponent(dst, facetName)
	dst = append(dst, ':')
	return appendURIComponent(dst, facetValue)
}

func appendURIComponent(dst, s []byte) []byte {
	for _, c := range s {
		if unescaped[c] {
			dst = append(dst, c)
		} else {
			dst = append(dst, '%', upperHex[c>>4], upperHex[c&15])
		}
	}
	return dst
}
