#include "runner/sandbox/vm/live/parking.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <time.h>

#include <array>
#include <atomic>
#include <chrono>
#include <thread>
#include <vector>

namespace forkbox::sandbox::vm {
namespace {

using std::chrono::steady_clock;

constexpr std::size_t kThreads = 7;
constexpr std::chrono::seconds kPatience{120};

struct Worker {
  std::atomic<std::uint64_t> steps{0};
  std::thread thread;
};

// Rests often enough to be caught, and is seldom caught with all others: most rounds are given up,
// and the signals of one meet the next.
void Work(Worker* worker, const std::atomic<bool>* stop) {
  std::uint64_t seed = reinterpret_cast<std::uintptr_t>(worker);
  while (!stop->load()) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    for (std::uint64_t i = 0; i < (seed >> 33) % 20'000; ++i) worker->steps.fetch_add(1);
    const timespec nap{0, static_cast<long>((seed >> 20) % 1'500'000)};
    ::nanosleep(&nap, nullptr);
  }
}

// Threads that end before they are parked: rounds in which the others are let go half-way.
void ComeAndGo(const std::atomic<bool>* stop) {
  while (!stop->load()) {
    std::thread([] {}).join();
    const timespec nap{0, 3'000'000};
    ::nanosleep(&nap, nullptr);
  }
}

std::array<std::uint64_t, kThreads> Steps(const std::array<Worker, kThreads>& workers) {
  std::array<std::uint64_t, kThreads> steps{};
  for (std::size_t i = 0; i < kThreads; ++i) steps[i] = workers[i].steps.load();
  return steps;
}

TEST(ParkingTest, NobodyRunsWhileAllAreParkedAndAllRunAgain) {
  ASSERT_TRUE(PrepareParking());
  std::atomic<bool> stop{false};
  std::array<Worker, kThreads> workers;
  for (Worker& worker : workers) worker.thread = std::thread(Work, &worker, &stop);
  std::thread restless(ComeAndGo, &stop);
  const auto give_up = steady_clock::now() + kPatience;
  int rounds = 0;
  while (rounds < 1000 && steady_clock::now() < give_up) {
    const auto parked = ParkThreads();
    if (parked.empty()) continue;  // a host that is too busy
    ++rounds;
    EXPECT_GE(parked.size(), kThreads + 1);
    const auto before = Steps(workers);
    for (int i = 0; i < 20; ++i) ::sched_yield();
    EXPECT_EQ(Steps(workers), before) << "in round " << rounds;
    for (const ParkedThread& thread : parked) {
      EXPECT_NE(thread.context, nullptr);
      EXPECT_NE(thread.thread_pointer, 0U);
    }
    ReleaseThreads();
    // On the way again at once, so that late signals of one round are met by the next.
    if (rounds % 100 == 0) {
      for (std::size_t i = 0; i < kThreads; ++i) {
        while (workers[i].steps.load() == before[i] && steady_clock::now() < give_up) {
          ::sched_yield();
        }
        EXPECT_NE(workers[i].steps.load(), before[i]);
      }
    }
  }
  EXPECT_GE(rounds, 20);
  stop = true;
  for (Worker& worker : workers) worker.thread.join();
  restless.join();
}

}  // namespace
}  // namespace forkbox::sandbox::vm
