package storefront

import "encoding/binary"

// PartitionOf is the partition that Java's default partitioner gives a key: murmur2 with Kafka's
// seed, the sign bit cleared, modulo the number of partitions.
func PartitionOf(key []byte, partitions int32) int32 {
	return int32(murmur2(key)&0x7fffffff) % partitions
}

// murmur2 is Austin Appleby's hash of 32 bits as org.apache.kafka.common.utils.Utils has it.
func murmur2(key []byte) uint32 {
	const (
		seed  = 0x9747b28c
		mix   = 0x5bd1e995
		shift = 24
	)
	h := uint32(seed) ^ uint32(len(key))
	for len(key) >= 4 {
		k := binary.LittleEndian.Uint32(key) * mix
		k = (k ^ k>>shift) * mix
		h = h*mix ^ k
		key = key[4:]
	}
	switch len(key) {
	case 3:
		h ^= uint32(key[2]) << 16
		fallthrough
	case 2:
		h ^= uint32(key[1]) << 8
		fallthrough
	case 1:
		h = (h ^ uint32(key[0])) * mix
	}
	h = (h ^ h>>13) * mix
	return h ^ h>>15
}
