#include "api/http/output_queue.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <array>
#include <string>
#include <utility>

namespace forkbox::http {
namespace {

UniqueFd FileOf(const std::string& text) {
  UniqueFd file(::memfd_create("output_queue_test", MFD_CLOEXEC));
  EXPECT_EQ(::write(file.get(), text.data(), text.size()), static_cast<ssize_t>(text.size()));
  return file;
}

class OutputQueueTest : public testing::Test {
 protected:
  void SetUp() override {
    std::array<int, 2> pair{};
    ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair.data()), 0);
    ours_ = UniqueFd(pair[0]);
    theirs_ = UniqueFd(pair[1]);
  }
  // Flushes and reads in turn until nothing is left.
  std::string DrainAll() {
    std::string read;
    std::array<char, 65536> buffer{};
    for (int i = 0; i < 10'000; ++i) {
      const OutputQueue::Flushed flushed = queue_.Flush(ours_.get());
      EXPECT_NE(flushed.progress, OutputQueue::Progress::kFailed);
      for (;;) {
        const ssize_t got = ::read(theirs_.get(), buffer.data(), buffer.size());
        if (got <= 0) break;
        read.append(buffer.data(), static_cast<std::size_t>(got));
      }
      if (flushed.progress == OutputQueue::Progress::kDrained) break;
    }
    return read;
  }
  OutputQueue queue_;
  UniqueFd ours_;
  UniqueFd theirs_;
};

// An answer queued behind a file that is still being sent once went out in the middle of the file.
TEST_F(OutputQueueTest, KeepsTheOrderOfTextAndFiles) {
  const std::string large(3'000'000, 'f');
  queue_.Append("head|");
  queue_.AppendFile(FileOf("__" + large + "__"), 2, large.size());
  queue_.Append("|next head|");
  queue_.AppendFile(FileOf("second"), 0, 6);
  queue_.Append("|end");
  EXPECT_EQ(queue_.files(), 2U);
  EXPECT_EQ(DrainAll(), "head|" + large + "|next head|second|end");
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.files(), 0U);
  EXPECT_EQ(queue_.pending_bytes(), 0U);
}

TEST_F(OutputQueueTest, CountsWhatIsHeld) {
  queue_.Append(std::string(2'000'000, 'x'));
  EXPECT_EQ(queue_.pending_bytes(), 2'000'000U);
  const OutputQueue::Flushed flushed = queue_.Flush(ours_.get());
  EXPECT_EQ(flushed.progress, OutputQueue::Progress::kBlocked);
  EXPECT_GT(flushed.bytes, 0U);
  EXPECT_EQ(queue_.pending_bytes(), 2'000'000U - flushed.bytes);
  EXPECT_EQ(DrainAll().size(), 2'000'000U);
}

TEST_F(OutputQueueTest, FailsWhenTheFileShrinksOrThePeerIsGone) {
  queue_.AppendFile(FileOf("short"), 0, 100);
  EXPECT_EQ(queue_.Flush(ours_.get()).progress, OutputQueue::Progress::kFailed);
  queue_.Clear();
  theirs_.Reset();
  queue_.Append("x");
  EXPECT_EQ(queue_.Flush(ours_.get()).progress, OutputQueue::Progress::kFailed);
}

TEST_F(OutputQueueTest, EmptyPartsAreNoParts) {
  queue_.Append("");
  queue_.AppendFile(FileOf(""), 0, 0);
  EXPECT_TRUE(queue_.empty());
  EXPECT_EQ(queue_.Flush(ours_.get()).progress, OutputQueue::Progress::kDrained);
}

}  // namespace
}  // namespace forkbox::http
