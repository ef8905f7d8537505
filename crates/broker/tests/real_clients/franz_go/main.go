// franz-go through what talk.rs describes.
// Usage: show BOOTSTRAP BASE_TIMESTAMP BURSTS BURST PARTITIONS TOPIC...; a topic's name is its codec.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

var (
	out      = bufio.NewWriterSize(os.Stdout, 1<<16)
	outMutex sync.Mutex
	in       = bufio.NewReader(os.Stdin)
)

func say(format string, values ...any) {
	outMutex.Lock()
	defer outMutex.Unlock()
	fmt.Fprintf(out, format+"\n", values...)
}

// await gives the cluster time to be upset.
func await() {
	say("wait")
	outMutex.Lock()
	out.Flush()
	outMutex.Unlock()
	if _, err := in.ReadString('\n'); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func must[T any](value T, err error) T {
	if err != nil {
		fail(err)
	}
	return value
}

// refusal is the code of an error in the words of the other programs.
func refusal(err error) string {
	if err == nil {
		return "accepted"
	}
	var refused *kerr.Error
	if !errors.As(err, &refused) {
		fail(err)
	}
	return fmt.Sprintf("error %d", refused.Code)
}

type show struct {
	servers       []string
	base          int64
	bursts, burst int
	partitions    int32
	topics        []string
}

func main() {
	arguments := os.Args[1:]
	number := func(at int) int64 { return must(strconv.ParseInt(arguments[at], 10, 64)) }
	s := show{strings.Split(arguments[0], ","), number(1), int(number(2)), int(number(3)), int32(number(4)), arguments[5:]}
	say("uses franz-go %s", version())
	client := s.client()
	s.administer(kadm.NewClient(client))
	s.produce()
	s.consume(kadm.NewClient(client))
	var before kadm.Offsets
	before.AddOffset("none", 0, 10, -1)
	deleted := must(kadm.NewClient(client).DeleteRecords(context.Background(), before))
	answer, _ := deleted.Lookup("none", 0)
	say("told earliest %d once records were deleted", must(answer, answer.Err).LowWatermark)
	client.Close()
	out.Flush()
}

func version() string {
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, module := range build.Deps {
			if module.Path == "github.com/twmb/franz-go" {
				return module.Version
			}
		}
	}
	return "of unknown version"
}

func (s *show) client(more ...kgo.Opt) *kgo.Client {
	opts := []kgo.Opt{
		kgo.SeedBrokers(s.servers...),
		kgo.ProduceRequestTimeout(time.Second),
		kgo.RequestTimeoutOverhead(time.Second),
		kgo.MetadataMinAge(50 * time.Millisecond),
		// Else a node that dies as a connection to it begins is taken for one that wants SASL, and the error is final.
		kgo.AlwaysRetryEOF(),
	}
	return must(kgo.NewClient(append(opts, more...)...))
}

func (s *show) administer(admin *kadm.Client) {
	ctx := context.Background()
	for _, made := range must(admin.CreateTopics(ctx, s.partitions, 3, nil, s.topics...)) {
		must(made, made.Err)
	}
	metadata := must(admin.BrokerMetadata(ctx))
	controller := "missing"
	for _, node := range metadata.Brokers {
		if node.NodeID == metadata.Controller {
			controller = "one of them"
		}
	}
	say("told nodes %d, a controller is %s", len(metadata.Brokers), controller)

	hour := "3600000"
	must(admin.CreateTopic(ctx, 2, 3, map[string]*string{"retention.ms": &hour}, "admin"))
	say("told created")
	_, err := admin.CreateTopic(ctx, 2, 3, nil, "admin")
	say("told created again: %s", refusal(err))
	listed := "missing"
	if topics := must(admin.ListTopics(ctx)); topics.Has("admin") {
		listed = "listed"
	}
	say("told %s", listed)
	describe(admin)
	retention(admin)
	alter(admin, kadm.SetConfig, "7200000")
	retention(admin)
	alter(admin, kadm.DeleteConfig, "")
	retention(admin)
	say("told retention.ms soon: %s", refusal(alter(admin, kadm.SetConfig, "soon")))
	grown := must(admin.UpdatePartitions(ctx, 4, "admin"))
	must(grown, grown.Error())
	describe(admin)
	say("told fewer partitions: %s", refusal(must(admin.UpdatePartitions(ctx, 3, "admin")).Error()))
	must(admin.DeleteTopic(ctx, "admin"))
	say("told deleted")
	say("told described: %s", refusal(must(admin.ListTopics(ctx, "admin"))["admin"].Err))
}

func describe(admin *kadm.Client) {
	topic := must(admin.ListTopics(context.Background(), "admin"))["admin"]
	first := topic.Partitions[0]
	say("told %d partitions, %d replicas, %d in sync", len(topic.Partitions), len(first.Replicas), len(first.ISR))
}

func retention(admin *kadm.Client) {
	configs := must(admin.DescribeTopicConfigs(context.Background(), "admin"))
	for _, config := range must(configs.On("admin", nil)).Configs {
		if config.Key != "retention.ms" {
			continue
		}
		source := "default"
		if config.Source.String() == "DYNAMIC_TOPIC_CONFIG" {
			source = "set"
		}
		say("told retention.ms %s, %s", *config.Value, source)
	}
}

func alter(admin *kadm.Client, op kadm.IncrementalOp, value string) error {
	change := []kadm.AlterConfig{{Op: op, Name: "retention.ms", Value: &value}}
	answers := must(admin.AlterTopicConfigs(context.Background(), change, "admin"))
	return must(answers.On("admin", nil)).Err
}

var codecs = map[string]kgo.CompressionCodec{
	"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(),
	"lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
}

// Idempotent, as it is unless it is told otherwise.
func (s *show) produce() {
	ctx := context.Background()
	producers := map[string]*kgo.Client{}
	for _, topic := range s.topics {
		producers[topic] = s.client(kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchCompression(codecs[topic]), kgo.ProducerLinger(2*time.Millisecond))
	}
	unanswered := make([]sync.WaitGroup, s.bursts)
	for round := range s.bursts {
		for number := round * s.burst; number < (round+1)*s.burst; number++ {
			for _, topic := range s.topics {
				for partition := range s.partitions {
					unanswered[round].Add(1)
					producers[topic].Produce(ctx, s.record(topic, partition, number), func(at *kgo.Record, err error) {
						if err != nil {
							fail(err)
						}
						say("acked %s %d %d %d", topic, partition, number, at.Offset)
						unanswered[round].Done()
					})
				}
			}
		}
		if round > 0 {
			// See stage.rs.
			unanswered[round-1].Wait()
		}
		await()
	}
	for _, producer := range producers {
		must(0, producer.Flush(ctx))
		producer.Close()
	}
}

func (s *show) record(topic string, partition int32, number int) *kgo.Record {
	filler := number % 200
	if number%100 == 99 {
		filler = 70_000
	}
	value := fmt.Sprintf("%s:%d:%d:%s", topic, partition, number, strings.Repeat("x", filler))
	return &kgo.Record{
		Topic: topic, Partition: partition, Timestamp: time.UnixMilli(s.base + int64(number)),
		Key: []byte(fmt.Sprintf("k%d", number)), Value: []byte(value),
		Headers: []kgo.RecordHeader{{Key: "h", Value: []byte(topic)}},
	}
}

func (s *show) consume(admin *kadm.Client) {
	ctx := context.Background()
	from := map[string]map[int32]kgo.Offset{}
	for _, topic := range s.topics {
		from[topic] = map[int32]kgo.Offset{}
		for partition := range s.partitions {
			from[topic][partition] = kgo.NewOffset().At(0)
		}
	}
	consumer := s.client(kgo.ConsumePartitions(from), kgo.FetchMaxPartitionBytes(20_000), kgo.FetchMaxBytes(100_000),
		kgo.FetchMaxWait(500*time.Millisecond))
	total, found, waits := len(s.topics)*int(s.partitions)*s.bursts*s.burst, 0, 0
	for found < total {
		fetches := consumer.PollRecords(ctx, 200)
		for _, failed := range fetches.Errors() {
			fmt.Fprintln(os.Stderr, "retried: ", failed.Topic, failed.Partition, failed.Err)
		}
		fetches.EachRecord(func(record *kgo.Record) {
			print(record)
			found++
		})
		if found >= (waits+1)*1000 {
			waits++
			await()
		}
	}
	// Nothing comes behind the last one.
	last, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	consumer.PollFetches(last).EachRecord(print)
	cancel()
	consumer.Close()
	s.look(admin)
}

func print(record *kgo.Record) {
	say("read %s %d %d %d %s %s %s", record.Topic, record.Partition, record.Offset, record.Timestamp.UnixMilli(),
		record.Key, record.Headers[0].Value, record.Value)
}

// look reads the third number of a record that is there, not only looked up.
func (s *show) look(admin *kadm.Client) {
	ctx := context.Background()
	starts, ends := must(admin.ListStartOffsets(ctx, "gzip")), must(admin.ListEndOffsets(ctx, "gzip"))
	middles := must(admin.ListOffsetsAfterMilli(ctx, s.base+int64(s.bursts*s.burst/2), "gzip"))
	for partition := range s.partitions {
		earliest, _ := starts.Lookup("gzip", partition)
		latest, _ := ends.Lookup("gzip", partition)
		middle, _ := middles.Lookup("gzip", partition)
		at := map[string]map[int32]kgo.Offset{"gzip": {partition: kgo.NewOffset().At(middle.Offset)}}
		consumer := s.client(kgo.ConsumePartitions(at))
		record := consumer.PollRecords(ctx, 1).Records()[0]
		say("told gzip %d: earliest %d, latest %d, since the middle %d", partition, earliest.Offset, latest.Offset, record.Offset)
		consumer.Close()
	}
}
