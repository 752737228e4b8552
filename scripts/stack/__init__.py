"""The system under proof: its stack file, its runtimes, its health, its workload."""
