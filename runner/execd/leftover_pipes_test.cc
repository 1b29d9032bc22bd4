#include "runner/execd/leftover_pipes.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <string>

namespace forkbox::execd {
namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_EQ(::pipe2(ends, O_CLOEXEC), 0);
    out.Reset(ends[0]);
    in.Reset(ends[1]);
  }
  UniqueFd out;
  UniqueFd in;
};

TEST(LeftoverPipesTest, TakesWhatComesUntilTheEnd) {
  Pipe dropped;
  Pipe heard;
  std::mutex mutex;
  std::condition_variable came;
  std::size_t bytes = 0;
  {
    LeftoverPipes pipes;
    pipes.Add(std::move(dropped.out));
    pipes.Add(std::move(heard.out), [&](std::string_view piece) {
      const std::lock_guard lock(mutex);
      bytes += piece.size();
      came.notify_all();
    });
    // Far more than a pipe holds: the writer is never stuck and never meets a closed pipe.
    const std::string piece(100'000, 'x');
    for (int i = 0; i < 5; ++i) {
      ASSERT_EQ(::write(dropped.in.get(), piece.data(), piece.size()), 100'000);
      ASSERT_EQ(::write(heard.in.get(), piece.data(), piece.size()), 100'000);
    }
    std::unique_lock lock(mutex);
    EXPECT_TRUE(came.wait_for(lock, std::chrono::seconds(20), [&] { return bytes == 500'000; }));
  }
  ::signal(SIGPIPE, SIG_IGN);
  EXPECT_EQ(::write(dropped.in.get(), "x", 1), -1) << "closed with it";
}

TEST(LeftoverPipesTest, TheOldestMakesRoom) {
  ::signal(SIGPIPE, SIG_IGN);
  LeftoverPipes pipes(64);
  std::vector<Pipe> all(65);
  for (Pipe& pipe : all) pipes.Add(std::move(pipe.out));
  bool closed = false;
  for (int i = 0; i < 2000 && !closed; ++i) {
    closed = ::write(all[0].in.get(), "x", 1) < 0;
    ::usleep(5000);
  }
  EXPECT_TRUE(closed);
  EXPECT_EQ(::write(all[1].in.get(), "x", 1), 1);
  EXPECT_EQ(::write(all[64].in.get(), "x", 1), 1);
}

}  // namespace
}  // namespace forkbox::execd
