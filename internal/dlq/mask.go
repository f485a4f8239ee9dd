package dlq

// isMask says whether a text has the form of a token's mask.
func isMask(s string) bool {
	return len(s) == maskLength && s[:len(tokenMask)] == tokenMask
}

const (
	tokenMask  = "u-"
	maskDigits = 8
	maskLength = len(tokenMask) + maskDigits
)
