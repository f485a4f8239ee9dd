package event

import (
	"math"
	"time"
)

// minTimestamp is the smallest integer timestamp: 3 March 1973. Smaller ones are seconds.
const minTimestamp = 100_000_000_000

// timestamp reads a time at i: an integer of milliseconds, or a text as in RFC 3339.
func (d *Decoder) timestamp(i int) (ms int64, next int) {
	b := d.b
	switch {
	case i < len(b) && b[i] == '"':
		v, next := d.text(i, ruleTimestampType)
		if next < 0 {
			return 0, next
		}
		if ms, ok := parseRFC3339(v); ok {
			return ms, next
		}
		return 0, d.fail(ruleTimestampRFC3339, i)
	case i < len(b) && (isDigit(b[i]) || b[i] == '-'):
		ms, next = d.integer(i, ruleTimestampInteger, ruleTimestampRange, 0, math.MaxInt64)
		if next >= 0 && ms < minTimestamp {
			return 0, d.fail(ruleTimestampSeconds, i)
		}
		return ms, next
	}
	return 0, d.fail(ruleTimestampType, i)
}

// parseRFC3339 reads a date-time of RFC 3339, section 5.6, to the millisecond, which is cut and not
// rounded. T and Z may be lower case; any number of fraction digits is taken. A leap second, which
// can only be the last second of a day in UTC, is the first one of the next day. Times before 1970
// give 1, since 0 means that there is none: they are too old in any case.
func parseRFC3339(v []byte) (ms int64, ok bool) {
	if len(v) < len("2006-01-02T15:04:05Z") || v[4] != '-' || v[7] != '-' || v[10]|0x20 != 't' || v[13] != ':' || v[16] != ':' {
		return 0, false
	}
	year, month, day := digits(v[0:4]), digits(v[5:7]), digits(v[8:10])
	hour, minute, second := digits(v[11:13]), digits(v[14:16]), digits(v[17:19])
	rest := v[19:]
	fraction, rest, ok := cutFraction(rest)
	if !ok {
		return 0, false
	}
	zone, ok := zoneMinutes(rest)
	if !ok || year < 0 || month < 1 || month > 12 || day < 1 || day > daysIn(year, month) ||
		hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return 0, false
	}
	if second == 60 && (hour*60+minute-zone+2*24*60)%(24*60) != 24*60-1 {
		return 0, false
	}
	t := time.Date(year, time.Month(month), day, hour, minute-zone, second, 0, time.UTC)
	return max(t.UnixMilli()+int64(fraction), 1), true
}

// digits is the number that decimal digits spell, or −1 if one of them is none.
func digits(v []byte) int {
	n := 0
	for _, c := range v {
		if !isDigit(c) {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// cutFraction cuts a fraction of a second from the beginning of v and gives its milliseconds.
func cutFraction(v []byte) (ms int, rest []byte, ok bool) {
	if v[0] != '.' {
		return 0, v, true
	}
	end := scanDigits(v, 1)
	if end == 1 {
		return 0, nil, false
	}
	for i := 1; i <= 3; i++ {
		ms *= 10
		if i < end {
			ms += int(v[i] - '0')
		}
	}
	return ms, v[end:], true
}

// zoneMinutes is the offset of a time zone from UTC in minutes.
func zoneMinutes(v []byte) (minutes int, ok bool) {
	if len(v) == 1 && v[0]|0x20 == 'z' {
		return 0, true
	}
	if len(v) != len("+00:00") || v[0] != '+' && v[0] != '-' || v[3] != ':' {
		return 0, false
	}
	h, m := digits(v[1:3]), digits(v[4:6])
	if h < 0 || h > 23 || m < 0 || m > 59 {
		return 0, false
	}
	if minutes = h*60 + m; v[0] == '-' {
		minutes = -minutes
	}
	return minutes, true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}
