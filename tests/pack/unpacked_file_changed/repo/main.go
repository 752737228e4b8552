package main

import "fmt"

// step1 says which step this is.
func step1() int {
	fmt.Println("step 1")
	return 1
}

// step2 says which step this is.
func step2() int {
	fmt.Println("step 2")
	return 2
}

// step3 says which step this is.
func step3() int {
	fmt.Println("step 3")
	return 3
}

// step4 says which step this is.
func step4() int {
	fmt.Println("step 4")
	return 4
}

// step5 says which step this is.
func step5() int {
	fmt.Println("step 5")
	return 5
}

// step6 says which step this is.
func step6() int {
	fmt.Println("step 6")
	return 6
}

// step7 says which step this is.
func step7() int {
	fmt.Println("step 7")
	return 7
}

// step8 says which step this is.
func step8() int {
	fmt.Println("step 8")
	return 8
}

// step9 says which step this is.
func step9() int {
	fmt.Println("step 9")
	return 9
}

// step10 says which step this is.
func step10() int {
	fmt.Println("step 10")
	return 10
}

func main() {
	step1()
	step2()
	step3()
	step4()
	step5()
	step6()
	step7()
	step8()
	step9()
	step10()
}
